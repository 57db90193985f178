"""Who is let in, dialled and believed: blocklists, hosts that hammer, and the share that one network may have.

One for a node; ports, links, dials, datagrams and the host cache all ask it.  Each refusal is counted with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gnutella.network.hammering import MAX_DATAGRAMS, Hammering
from gnutella.networks import Shares
from gnutella.reasons import DropReason
from gnutella.settings import SafetySettings

#: Refusals of an incoming connection that count as offences: what no working servent sends.
OFFENCES = frozenset(
    (
        DropReason.GARBAGE,
        DropReason.HEAD_BROKEN,
        DropReason.HEAD_TOO_LARGE,
        DropReason.HANDSHAKE_BROKEN,
        DropReason.REQUEST_BROKEN,
        DropReason.SLOW,
        DropReason.TLS_FAILED,
        DropReason.TOO_MANY_HANDSHAKES,
    )
)
#: Waiting hosts that `status` names.
MAX_SHOWN = 10


class Listed(Protocol):
    """Blocklists, as far as they are needed here."""

    def blocks(self, host: str) -> bool: ...


class Gate:
    """See the module text.  Without blocklists nothing is blocked; `clock` gives seconds that do not run backwards."""

    def __init__(
        self,
        clock: Callable[[], float] = lambda: 0.0,
        count: Callable[[DropReason], None] = lambda reason: None,
        lists: Listed | None = None,
        safety: SafetySettings | None = None,
        profile: str = "public",
    ) -> None:
        self._clock = clock
        self._lists = lists
        self.count = count
        self.connections = Hammering()
        self.datagrams = Hammering(MAX_DATAGRAMS)
        self.shares = Shares()
        self.is_slowing = True
        self.use_settings(safety or SafetySettings(), profile)

    def use_settings(self, safety: SafetySettings, profile: str) -> None:
        """Judge by other limits from now on; on loopback there are no networks to tell apart."""
        counted = "off" if profile == "loopback" else safety.count_networks
        self.shares = Shares(safety.near_percent, safety.wide_percent, counted)
        self.is_slowing = safety.slow_hammering

    def is_listed(self, host: str) -> bool:
        """Whether this IP is on a blocklist."""
        return self._lists is not None and self._lists.blocks(host)

    def blocks(self, host: str) -> bool:
        """The same, counted as a refusal."""
        if not self.is_listed(host):
            return False
        self.count(DropReason.BLOCKED)
        return True

    def refuses_connection(self, host: str) -> bool:
        """Whether a connection from there is closed unread; counted."""
        return self.blocks(host) or self._hammers(self.connections, host)

    def refuses_datagram(self, host: str) -> bool:
        """Whether a datagram from there is dropped unread; counted."""
        return self.blocks(host) or self._hammers(self.datagrams, host)

    def refused(self, host: str, reason: DropReason) -> None:
        """A connection from there came to nothing for this reason."""
        if reason in OFFENCES:
            self.connections.offence(host, self._clock())

    def row(self) -> dict[str, object]:
        """For `status`: hosts that wait, how many, what was refused of them."""
        now = self._clock()
        waiting = self.connections.waiting(now) | self.datagrams.waiting(now)
        longest = sorted(waiting.items(), key=lambda item: -item[1])[:MAX_SHOWN]
        return {
            "waiting": len(waiting),
            "waits": [{"host": host, "wait_s": round(wait, 1)} for host, wait in longest],
            "hammering": self.connections.refused + self.datagrams.refused,
        }

    def _hammers(self, kind: Hammering, host: str) -> bool:
        if not self.is_slowing or kind.visit(host, self._clock()):
            return False
        self.count(DropReason.HAMMERING)
        return True
