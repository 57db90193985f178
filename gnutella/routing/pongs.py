"""The pong cache: addresses that answered pings of ours, given to those who ask (digest 5.1).

Pings are never flooded.  A node asks its own neighbours at intervals, keeps what they answer for a while, and answers pings
from that store; so a ping costs one link, not the whole horizon, and addresses still travel one hop with each refresh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gnutella.units import Address, LinkId

#: Addresses kept; the oldest goes first.  Twenty links give ten each (our own number).
MAX_PONGS = 200
#: Pongs kept of one link, so that no neighbour fills the store.
MAX_PONGS_PER_LINK = 20
#: Pongs given for one ping, beside our own (digest 5.1).
MAX_PONGS_GIVEN = 10


@dataclass(frozen=True, slots=True)
class CachedPong:
    """A pong as it came: its payload, over which link, how far it had travelled here, and when."""

    address: Address
    payload: bytes
    link: LinkId
    hops: int
    time: float


class PongCache:
    """Bounded, newest last; an entry lives for `life_s`."""

    def __init__(self, life_s: float, max_pongs: int = MAX_PONGS, max_per_link: int = MAX_PONGS_PER_LINK) -> None:
        self.life_s = life_s
        self._max_pongs = max_pongs
        self._max_per_link = max_per_link
        self._pongs: dict[Address, CachedPong] = {}
        self._per_link: dict[LinkId, int] = {}

    def __len__(self) -> int:
        return len(self._pongs)

    def put(self, pong: CachedPong) -> bool:
        """Keep a pong; True if its address was not here, False if it is only renewed or its link has given enough."""
        known = self._pongs.get(pong.address)
        if known is None and self._per_link.get(pong.link, 0) >= self._max_per_link:
            oldest = next(address for address, old in self._pongs.items() if old.link == pong.link)
            self._remove(oldest)
        if known is not None:
            self._remove(pong.address)
        elif len(self._pongs) >= self._max_pongs:
            self._remove(next(iter(self._pongs)))
        self._pongs[pong.address] = pong
        self._per_link[pong.link] = self._per_link.get(pong.link, 0) + 1
        return known is None

    def choose(
        self, asker: LinkId, asker_address: Address | None, now: float, *, max_hops: int = 255
    ) -> list[CachedPong]:
        """The newest pongs for a link: not those it sent itself, and not its own address."""
        chosen: list[CachedPong] = []
        oldest = now - self.life_s
        for pong in reversed(self._pongs.values()):
            if pong.time < oldest or len(chosen) == MAX_PONGS_GIVEN:
                break
            if pong.link != asker and pong.address != asker_address and pong.hops <= max_hops:
                chosen.append(pong)
        return chosen

    def fresh(self, now: float) -> list[CachedPong]:
        """All that are not too old."""
        oldest = now - self.life_s
        return [pong for pong in self._pongs.values() if pong.time >= oldest]

    def forget(self, is_refused: Callable[[str], bool]) -> None:
        """Drop the pongs of hosts that are not to be told of any more."""
        for address in [address for address in self._pongs if is_refused(address.host)]:
            self._remove(address)

    def tick(self, now: float) -> None:
        """Drop what is too old; entries are in order of time."""
        oldest = now - self.life_s
        while self._pongs:
            address, pong = next(iter(self._pongs.items()))
            if pong.time >= oldest:
                return
            self._remove(address)

    def _remove(self, address: Address) -> None:
        pong = self._pongs.pop(address)
        left = self._per_link[pong.link] - 1
        if left:
            self._per_link[pong.link] = left
        else:
            del self._per_link[pong.link]
