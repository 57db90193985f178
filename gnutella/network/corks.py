"""Links that hold bytes back for milliseconds, so that a busy one costs a write a cork and not one a message."""

from __future__ import annotations

from typing import Any, Protocol

#: How long a busy link's bytes may wait for more.  gtk-gnutella waits up to 200 ms; ours is short because a search crosses
#: several links, and long enough that a busy link costs two hundred system calls a second at most.
CORK_S = 0.005


class Corked(Protocol):
    """What is asked of a link: write what it holds back; whether it goes on holding back."""

    def flush(self) -> bool: ...


class Corks:
    """One timer for all links of a node."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._dirty: list[Corked] = []
        self._timer: Any = None

    def dirty(self, link: Corked) -> None:
        """It holds bytes back, or will hold back those that follow."""
        self._dirty.append(link)
        if self._timer is None:
            self._timer = self._reactor.callLater(CORK_S, self._pull)

    def stop(self) -> None:
        """Write nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pull(self) -> None:
        self._timer = None
        dirty, self._dirty = self._dirty, []
        for link in dirty:
            if link.flush():
                self.dirty(link)
