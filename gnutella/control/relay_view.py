"""What commands may ask of the relay layer: the door between the control room and `anonymizer/`.

`IRelayLayer` is the seam by which a node finds the layer: `gnutella.relaying` loads it by name when it is switched on, and
nothing of the servent imports it.  Errors that the person must see are UserErrors whose text begins with their name
(`AnonymitySetTooSmall: ...`); a request is never done in another, weaker way than asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from zope.interface import Attribute, Interface

from gnutella.control.view import Row


@dataclass(frozen=True, slots=True)
class Terms:
    """What the user asks for: a level, and the smallest set that is accepted by its number (0: the layer's own rule)."""

    level: str = "relay"
    accept_small_set: int = 0


class Job(Protocol):
    """A fetch or an insertion that goes on."""

    @property
    def row(self) -> Row:
        """Keys of the columns of `anonymous get`."""
        ...

    @property
    def is_over(self) -> bool: ...

    @property
    def error(self) -> Exception | None:
        """Why it failed, for the person."""
        ...

    def changed(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have it called at each change; the answer takes that back."""
        ...

    def cancel(self) -> None: ...


class Seeking(Protocol):
    """An anonymous search that goes on."""

    @property
    def is_over(self) -> bool: ...

    @property
    def error(self) -> Exception | None: ...

    @property
    def told(self) -> Row:
        """level, pivots, effective_set, edge_age_s: what this search had."""
        ...

    def stop(self) -> None: ...


class RelayView(Protocol):
    """The relay layer of a running node, as commands see it."""

    def status(self) -> Row: ...

    def explain(self) -> Sequence[Row]:
        """What this node stores, relays and reveals: topic, text."""
        ...

    def get(self, what: str, to: str, terms: Terms) -> Job:
        """Fetch what a key, or the number of a hit of the last anonymous search, stands for."""
        ...

    def put(self, path: str, document: str, terms: Terms, *, convergent: bool, unlisted: bool) -> Job:
        """Insert a file; `document` is an owner's key and name whose new edition shall point to it, or empty."""
        ...

    def search(
        self, words: str, kinds: Sequence[str], limit: int, terms: Terms, gateway: bool, hit: Callable[[Row], None]
    ) -> Seeking: ...

    #: When the last anonymous search was begun; 0: never, or there was one in the clear since.
    searched_at: float

    def share(self, path: str, terms: Terms) -> Job:
        """Offer a file without inserting it."""
        ...

    async def unshare(self, name: str) -> Row:
        """Offer it no more; answers when that outlasts a crash."""
        ...

    def shares(self) -> Sequence[Row]: ...

    def jobs(self) -> Sequence[Row]: ...

    def cancel(self, number: int) -> Row: ...

    def new_key(self, name: str) -> Row:
        """A new pair of keys for a document of that name: own (keep it), read (tell it)."""
        ...


class IRelayLayer(Interface):
    """A relay layer of one node, as a node sees it: started after the listener, stopped before it."""

    view = Attribute("A RelayView.")

    def start() -> object:
        """Begin; an awaitable."""

    def stop() -> object:
        """End; an awaitable."""

    def door() -> object:
        """What takes connections whose TLS greeting asks for the layer; see gnutella.network.demux."""

    def observe() -> object:
        """Record from now on what this node can see of requests; for demonstrations."""

    def sights(observers: Any, asker: str) -> object:
        """Of the observers of all nodes, by name: node, role, saw, hidden, facts of each that saw something of a request."""

    def use_settings(settings: object) -> None:
        """Take changed settings."""
