"""Which nodes of the layer are known, and which of them may be picked.

Every node keeps at most MAX_KNOWN descriptors.  Beyond that all keep the same part of them, or nearly: those whose keyed hash
for this week ends in so many zero bits that they fit, and nobody can be told by the set that it knows.  A node that shall be
guard, pivot or anchor has been known for a day, from three links other than its own, has an address, and is the longest known
of its network (/16, IPv6 /32): whoever wants a share of the picks has to keep that many networks up for that long.

Pure: `now` is seconds since 1970, `rng` chooses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from anonymizer.cells import LARGE_BODY
from anonymizer.descr import HOUR_S, Descriptor, check_times, read
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.wire import MAX_CLASS_BITS, MAX_DESCRIPTORS
from gnutella.networks import wide
from gnutella.units import is_plausible_peer

#: 8 MiB of the longest descriptors.
MAX_KNOWN: Final = 4_096
#: Nodes whose first sighting is remembered, kept or not: a new week's class shall not begin with strangers.
MAX_SIGHTINGS: Final = 65_536
#: Nodes that it takes, in one day, to fill the sightings with strangers of their making.
INTRODUCERS: Final = 8
MIN_AGE_S: Final = 24 * HOUR_S
MIN_SOURCES: Final = 3
#: Sources remembered of each; more make no difference.
MAX_SOURCES: Final = 8
WEEK_S: Final = 168 * HOUR_S
#: Fewer kept than this share of the most: twice as many classes fit, with room for growth.
_WIDEN_BELOW: Final = 4
#: Bytes of CBOR around each descriptor of a cell, and around them all.
_ITEM_HEAD, _BODY_HEAD = 3, 5


class Rng(Protocol):
    """Chance; secrets.SystemRandom in earnest."""

    def randrange(self, stop: int, /) -> int: ...


@dataclass(slots=True)
class Known:
    """A node that is kept."""

    descriptor: Descriptor
    first_seen: float
    sources: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class _Sighting:
    first: float
    expires_h: int


class KnownNodes:
    """See the module text.  `own_id` is never kept.

    `allow_private`, and `by_network` = False, are for networks without Internet; `min_age_s` and `min_sources` below those
    of the module are for tests and islands whose owner says so: they take away what keeps strangers from being picked.
    """

    def __init__(
        self,
        own_id: bytes,
        *,
        limit: int = MAX_KNOWN,
        max_sightings: int = MAX_SIGHTINGS,
        allow_private: bool = False,
        by_network: bool = True,
        min_age_s: float = MIN_AGE_S,
        min_sources: int = MIN_SOURCES,
    ) -> None:
        self._own_id = own_id
        self._limit, self._max_sightings = limit, max_sightings
        self._allow_private, self._by_network = allow_private, by_network
        self._min_age_s, self._min_sources = min_age_s, min_sources
        self._nodes: dict[bytes, Known] = {}
        self._sightings: dict[bytes, _Sighting] = {}
        self.refusals = Refusals()
        #: Strangers by who told of them, of this day; never more sources than sightings.
        self._introduced: dict[bytes, int] = {}
        self._max_introduced = max(1, max_sightings // INTRODUCERS)
        self._day = 0
        #: Kept are those whose class for this week ends in as many zero bits.
        self.bits = 0

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node_id: bytes) -> bool:
        return node_id in self._nodes

    def __iter__(self) -> Iterator[Descriptor]:
        return (known.descriptor for known in self._nodes.values())

    def get(self, node_id: bytes) -> Descriptor | None:
        known = self._nodes.get(node_id)
        return None if known is None else known.descriptor

    def hear(self, data: bytes, source: bytes, now: float) -> Descriptor | None:
        """A link to node `source` told of this; the descriptor if it is news, to be told on.  Refusals are counted."""
        try:
            return self._hear(data, source, now)
        except Violation as violation:
            self.refusals.count(violation.reason)
            return None

    def _hear(self, data: bytes, source: bytes, now: float) -> Descriptor | None:
        descriptor = read(data)
        check_times(descriptor, now)
        address = descriptor.address
        if address is not None and not is_plausible_peer(address, allow_private=self._allow_private):
            raise Violation(Refusal.DESCRIPTOR_ADDRESS)
        node_id = descriptor.node_id
        if node_id == self._own_id:
            return None
        first = self._sight(descriptor, source, now)
        known = self._nodes.get(node_id)
        if known is None:
            self._make_room(node_id, now)
            known = self._nodes[node_id] = Known(descriptor, first)
            news = True
        else:
            news = self._is_newer(descriptor, known.descriptor)
            if news:
                known.descriptor = descriptor
        # Nobody vouches for himself.
        if source != node_id and len(known.sources) < MAX_SOURCES:
            known.sources.add(source)
        return descriptor if news else None

    def _is_newer(self, heard: Descriptor, kept: Descriptor) -> bool:
        if heard.sequence != kept.sequence:
            if heard.sequence < kept.sequence:
                raise Violation(Refusal.DESCRIPTOR_OLD)
            return True
        if heard.data == kept.data:
            return False
        # The same everywhere, whatever came first.
        if hashlib.sha256(heard.data).digest() > hashlib.sha256(kept.data).digest():
            raise Violation(Refusal.DESCRIPTOR_FORK)
        self.refusals.count(Refusal.DESCRIPTOR_FORK)
        return True

    def _sight(self, descriptor: Descriptor, source: bytes, now: float) -> float:
        """When the node was first heard of."""
        seen = self._sightings.get(descriptor.node_id)
        if seen is None:
            if len(self._sightings) >= self._max_sightings:
                raise Violation(Refusal.DESCRIPTORS_FULL)
            if source:
                self._count_introduction(source, now)
            seen = self._sightings[descriptor.node_id] = _Sighting(now, descriptor.expires_h)
        seen.expires_h = max(seen.expires_h, descriptor.expires_h)
        return seen.first

    def _count_introduction(self, source: bytes, now: float) -> None:
        day = int(now // MIN_AGE_S)
        if day != self._day:
            self._day = day
            self._introduced.clear()
        count = self._introduced.get(source, 0)
        if count >= self._max_introduced:
            raise Violation(Refusal.DESCRIPTORS_MANY)
        self._introduced[source] = count + 1

    # -- the part that is kept -------------------------------------------------------------------------------------------

    def _make_room(self, node_id: bytes, now: float) -> None:
        if not in_class(node_id, self.bits, now):
            raise Violation(Refusal.DESCRIPTORS_FULL)
        while len(self._nodes) >= self._limit:
            outside = [other for other in self._nodes if not in_class(other, self.bits, now)]
            if outside:
                self._drop(outside)
            elif self.bits == MAX_CLASS_BITS:
                raise Violation(Refusal.DESCRIPTORS_FULL)
            else:
                self.bits += 1
        if not in_class(node_id, self.bits, now):
            raise Violation(Refusal.DESCRIPTORS_FULL)

    def _drop(self, node_ids: Iterable[bytes]) -> None:
        for node_id in node_ids:
            del self._nodes[node_id]

    def tidy(self, now: float) -> bool:
        """Forget what has expired, and those of other classes; True: there is room for more, ask links for `bits` again."""
        hour = now / HOUR_S
        self._drop([key for key, known in self._nodes.items() if known.descriptor.expires_h <= hour])
        self._sightings = {key: seen for key, seen in self._sightings.items() if seen.expires_h > hour}
        if len(self._nodes) * _WIDEN_BELOW < self._limit and self.bits:
            self.bits -= 1
            return True
        self._drop([key for key in self._nodes if not in_class(key, self.bits, now)])
        return False

    def pages(self, bits: int, now: float) -> Iterator[tuple[bytes, ...]]:
        """The descriptors of class 0 of 2**bits, as many on each page as one large cell holds; in the order of ids."""
        page: list[bytes] = []
        size = _BODY_HEAD
        for node_id in sorted(self._nodes):
            descriptor = self._nodes[node_id].descriptor
            if not in_class(node_id, bits, now) or descriptor.expires_h * HOUR_S <= now:
                continue
            needed = _ITEM_HEAD + len(descriptor.data)
            if size + needed > LARGE_BODY or len(page) == MAX_DESCRIPTORS:
                yield tuple(page)
                page, size = [], _BODY_HEAD
            page.append(descriptor.data)
            size += needed
        if page:
            yield tuple(page)

    # -- over restarts ---------------------------------------------------------------------------------------------------

    def rows(self) -> list[tuple[bytes, float, list[bytes]]]:
        """What to keep on disk: descriptor, first sighting, sources."""
        return [(known.descriptor.data, known.first_seen, sorted(known.sources)) for known in self._nodes.values()]

    def restore(self, rows: Iterable[tuple[bytes, float, list[bytes]]], now: float) -> None:
        """What was kept on disk; it is verified again, and a sighting in the future is none."""
        for data, first_seen, sources in rows:
            descriptor = self.hear(data, b"", now)
            if descriptor is None:
                continue
            known = self._nodes[descriptor.node_id]
            known.first_seen = self._sightings[descriptor.node_id].first = min(first_seen, now)
            known.sources = set(sources[:MAX_SOURCES])

    # -- picking ---------------------------------------------------------------------------------------------------------

    def eligible(self, now: float, capabilities: int = 0) -> list[Descriptor]:
        """Those that may be picked: one of each network, in the order of their ids."""
        oldest: dict[str, tuple[float, bytes]] = {}
        for node_id, known in self._nodes.items():
            descriptor = known.descriptor
            if (
                not descriptor.host
                or descriptor.expires_h * HOUR_S <= now
                or now - known.first_seen < self._min_age_s
                or len(known.sources) < self._min_sources
            ):
                continue
            key = self.network_of(descriptor)
            oldest[key] = min(oldest.get(key, (now, node_id)), (known.first_seen, node_id))
        picked = sorted(node_id for _, node_id in oldest.values())
        found = (self._nodes[node_id].descriptor for node_id in picked)
        return [descriptor for descriptor in found if descriptor.capabilities & capabilities == capabilities]

    def network_of(self, descriptor: Descriptor) -> str:
        """What counts as one when nodes are picked; each node by itself where networks do not count."""
        return self.network_at(descriptor.host) or descriptor.node_id.hex()

    def network_at(self, host: str) -> str:
        """The network of an address; empty where networks do not count, or for no address."""
        return wide(host) if self._by_network and host else ""

    def pick(
        self,
        rng: Rng,
        now: float,
        capabilities: int = 0,
        *,
        without: Container[bytes] = (),
        without_networks: Container[str] = (),
    ) -> Descriptor | None:
        """One of the eligible, each as likely as any other; None: there is none."""
        found = [
            descriptor
            for descriptor in self.eligible(now, capabilities)
            if descriptor.node_id not in without and self.network_of(descriptor) not in without_networks
        ]
        return found[rng.randrange(len(found))] if found else None


def in_class(node_id: bytes, bits: int, now: float) -> bool:
    """Whether this week's hash of the node ends in `bits` zero bits; each class is half of the one before it."""
    if not bits:
        return True
    week = int(now // WEEK_S).to_bytes(8, "big", signed=True)
    digest = hashlib.sha256(b"arl1-class" + week + node_id).digest()
    return int.from_bytes(digest[-4:], "big") & ((1 << bits) - 1) == 0
