"""A13, traceback by ids: can what a spy saw of a circuit be used to find where else the circuit has been?

`surviving` asks whether any number in a cell's header is the same on two links of one circuit.  `answers` sends what a spy saw
(channels of others' links) to everybody whom the spies can reach, and waits for anything to happen.  `oracle` sends a seal that
passed a spy into the stems of others once more: does any of them treat it otherwise than a seal that is new?
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from anonymizer.cells import SMALL_BODY
from anonymizer.stem import Stem
from anonymizer.wire import Ciphertext, Close, CloseReason, Credit, Open, Phase, cell_of, parse
from gnutella.testing.anonymity.graph import Seen
from gnutella.testing.anonymity.neighbours import NAME, spies_of
from gnutella.testing.anonymity.stats import Share, share
from gnutella.testing.anonymity.stem_net import Sighting, StemNet

#: Until everything that a seal sets off is over.
WAIT_S: Final = 20.0


class Log:
    """Every OPEN on its way, by seal."""

    def __init__(self, net: StemNet) -> None:
        self.opens: dict[bytes, list[Sighting]] = {}
        self.others: list[Sighting] = []
        net.watch = self._saw

    def _saw(self, sighting: Sighting) -> None:
        body = parse(sighting.cell)
        if isinstance(body, Open):
            self.opens.setdefault(body.sealed[NAME], []).append(sighting)
        else:
            self.others.append(sighting)

    def first(self, seal: bytes, spies: Iterable[int], since: float = 0.0) -> Seen | None:
        """The first that the spies got of it, other than from each other."""
        watchers = frozenset(spies)
        for sighting in self.opens.get(seal[NAME], ()):
            if sighting.when > since and sighting.to in watchers and sighting.came not in watchers:
                body = parse(sighting.cell)
                assert isinstance(body, Open)
                return body.phase, sighting.came, sighting.to, 0
        return None


def surviving(count: int, circuits: int, seed: int, kind: type[Stem] = Stem) -> Share:
    """Of pairs of links that follow each other on a way, on how many some number of the header is the same on both.

    The channel without its lowest bit, which says who opened it; nothing else in the header of an OPEN is ever not zero.
    """
    net = StemNet(count, seed, kind)
    log, rng, same = Log(net), random.Random(f"ids {seed}"), list[bool]()
    for _ in range(circuits):
        origin, pivot = rng.sample(net.nodes, 2)
        seal = net.seal()
        origin.open(pivot, seal)
        net.clock.run(net.clock.now + WAIT_S)
        way = log.opens.pop(seal[NAME], [])
        same += [one.cell.channel >> 1 == two.cell.channel >> 1 for one, two in pairwise(way)]
    return share(same)


def answers(count: int, circuits: int, seed: int, spy_share: float = 0.1, kind: type[Stem] = Stem) -> Share:
    """How often anything comes back when a spy uses the channel of a circuit that it saw on its other links."""
    net = StemNet(count, seed, kind, pivots_take=True)
    log, rng = Log(net), random.Random(f"answers {seed}")
    spies = spies_of(net, spy_share, rng)
    honest = [node for node in net.nodes if node.number not in spies]
    found = list[bool]()
    while len(found) < circuits:
        origin, pivot = rng.sample(honest, 2)
        seal = net.seal()
        origin.open(pivot, seal)
        net.clock.run(net.clock.now + WAIT_S)
        seen = next((each for each in log.opens.pop(seal[NAME], []) if each.to in spies), None)
        if seen is None:
            continue
        log.others.clear()
        for other in sorted(net.nodes[seen.to].links - {seen.came}):
            for body in (Ciphertext(bytes(SMALL_BODY)), Credit(1), Close(CloseReason.DONE)):
                net.inject(seen.to, other, cell_of(body, seen.cell.channel))
        net.clock.run(net.clock.now + WAIT_S)
        found.append(any(each.came != seen.to for each in log.others))
    return share(found)


@dataclass(frozen=True, slots=True)
class Oracle:
    """Of circuits that spies saw on the stem: of how many a replay was treated unlike a new seal on the same edge.

    `controls`: the same with a second new seal instead of the replay.
    """

    tested: int
    alarms: Share
    controls: Share


def oracle(count: int, circuits: int, seed: int, spy_share: float = 0.1, kind: type[Stem] = Stem) -> Oracle:
    """Replays into each stem edge of the spies by which new seals come to where the circuit was seen."""
    net = StemNet(count, seed, kind)
    log, rng = Log(net), random.Random(f"oracle {seed}")
    spies = spies_of(net, spy_share, rng)
    watchers, honest = frozenset(spies), [node for node in net.nodes if node.number not in spies]
    doors = doors_of(net, spies)
    usual = {door: surfaces(net, log, door, net.seal(), rng.choice(honest).number, watchers) for door in doors}
    alarms, controls, tested = list[bool](), list[bool](), 0
    for _ in range(circuits):
        origin, pivot = rng.sample(honest, 2)
        seal = net.seal()
        origin.open(pivot, seal)
        net.clock.run(net.clock.now + WAIT_S)
        seen = log.first(seal, spies)
        if seen is None or seen[0] is not Phase.STEM:
            continue
        by = [door for door in doors if usual[door] == seen]
        tested += bool(by)
        alarms.append(any(surfaces(net, log, door, seal, pivot.number, watchers) != seen for door in by))
        controls.append(any(surfaces(net, log, door, net.seal(), pivot.number, watchers) != seen for door in by))
    return Oracle(tested, share(alarms), share(controls))


def doors_of(net: StemNet, spies: Iterable[int]) -> list[tuple[int, int]]:
    """Stem edges by which spies can put openings into the stems of others: (spy, node)."""
    known = sorted(spies)
    honest = [node.number for node in net.nodes if node.number not in known]
    return [(spy, node) for spy in known for node in honest if _is_edge(net, spy, node)]


def _is_edge(net: StemNet, spy: int, node: int) -> bool:
    return node in net.nodes[spy].chosen or spy in net.nodes[node].chosen


def surfaces(
    net: StemNet, log: Log, door: tuple[int, int], seal: bytes, pivot: int, spies: frozenset[int]
) -> Seen | None:
    """Where the spies see a seal next that one of them puts into a stem edge."""
    spy, node = door
    begun = net.clock.now
    body = Open(Phase.STEM, net.nodes[pivot].id, 0, seal)
    # The channels of the side that dialled are odd.
    is_client = net.nodes[spy].stem._links[net.nodes[node].id].is_client
    net.inject(spy, node, cell_of(body, net.rng.getrandbits(32) & ~1 | is_client | 1 << 31))
    net.clock.run(net.clock.now + WAIT_S)
    return log.first(seal, spies, begun)
