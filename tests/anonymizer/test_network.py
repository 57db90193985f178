"""Whole nodes that come and go, and what could give an origin away among them: pitfalls 4, 10, 11, 15, 16 and 20."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer import decoys, guards
from anonymizer.cells import Cell, Command
from anonymizer.chk import DATA_BYTES
from anonymizer.core import Core, Identity
from anonymizer.errors import AnonymityError
from anonymizer.files import Splitter
from anonymizer.known import KnownNodes
from anonymizer.uri import ChkUri
from anonymizer.wire import BRIDGE_BUDGET, BlockType, EdgeAnswer, Fetch, Open, Phase, cell_of, parse
from gnutella.testing.relay_churn import Reader, Sessions, publish
from gnutella.testing.relay_cores import CoreNet, CoreNode
from gnutella.testing.relay_nodes import NOW

DATA = random.Random(1).randbytes(150_000)
NODES = 24


def made(seed: int, *, has_decoys: bool = False) -> CoreNet:
    net = CoreNet(NODES, seed, has_decoys=has_decoys)
    net.settle(25)
    return net


@pytest.fixture(scope="module")
def net() -> CoreNet:
    """One where nobody leaves."""
    return made(11)


@pytest.fixture(scope="module")
def uri(net: CoreNet) -> ChkUri:
    return publish(net.nodes[0], DATA)


def first_hops(node: CoreNode) -> list[bytes]:
    """Filled with whom this node opens circuits of its own with."""
    found: list[bytes] = []
    circuits = node.core.stem
    lay = circuits._lay

    def see(port, goes, body, is_slow, now):  # type: ignore[no-untyped-def]
        if port[0] is None and body.phase is Phase.STEM:
            found.append(goes)
        return lay(port, goes, body, is_slow, now)

    circuits._lay = see  # type: ignore[method-assign]
    return found


# -- nodes that come and go ----------------------------------------------------------------------------------------------


def test_files_are_there_while_three_nodes_of_ten_are_away_and_others_come_and_go() -> None:
    net = made(12)
    owner = net.nodes[0]
    sessions = Sessions(net, median_s=300.0, stay=(owner,))
    uri = publish(owner, DATA)
    sessions.start()
    readers = []
    for _ in range(8):
        reader = Reader(net.rng.choice([node for node in net.nodes[1:] if node.is_up]), uri, len(DATA), tries=15)
        readers.append(reader)
        reader.start()
        net.run(20)
    assert net.run_until(lambda: all(reader.is_over for reader in readers), 1_500, 5.0)
    stayed = [reader for reader in readers if reader.done is not None or not reader.has_left]
    assert sessions.left > 5 and sessions.came > 2 and len(stayed) >= 5
    assert all(reader.done is not None for reader in stayed)


def test_a_guard_that_was_started_anew_is_an_edge_again_and_carries_circuits() -> None:
    net = made(13)
    uri = publish(net.nodes[0], DATA)
    node = net.nodes[5]
    guard = node.core.stem.guard(net.now)
    assert guard is not None
    before = Reader(node, uri, len(DATA))
    before.start()
    assert net.run_until(lambda: before.is_over, 60)
    node.core.cache.expire(net.now + 1e6)
    net.down(net.by_id[guard])
    net.run(30)
    assert node.core.stem.guard(net.now) is None
    net.restart(net.by_id[guard])
    assert net.run_until(lambda: node.core.stem.guard(net.now) == guard, 200)
    net.run(5)
    assert net.by_id[guard].core.stem.is_edge(node.id)
    reader = Reader(node, uri, len(DATA))
    reader.start()
    assert net.run_until(lambda: reader.is_over, 60)
    assert reader.done is not None
    # So it is when an accepted edge's own side was: what is kept here is nothing that the other does not know of.
    for one in net.nodes:
        for other in one.links:
            if one.core.stem.is_edge(other):
                assert net.by_id[other].core.stem.is_edge(one.id)


def test_a_pivot_that_is_killed_in_the_middle_is_replaced_by_the_same_guard() -> None:
    net = made(14)
    data = random.Random(2).randbytes(700_000)
    uri = publish(net.nodes[0], data)
    node = next(one for one in net.nodes[1:] if one.core.stem.guard(net.now) != net.nodes[0].id)
    guard, hops = node.core.stem.guard(net.now), first_hops(node)
    reader = Reader(node, uri, len(data))
    reader.start()
    transfer = reader.transfer
    assert transfer is not None
    assert net.run_until(lambda: transfer.manifest is not None, 60, 0.05) and not reader.is_over
    pivots = transfer.lanes.picks.used & set(net.by_id) - {net.nodes[0].id}
    for pivot in sorted(pivots):
        net.down(net.by_id[pivot])
    assert net.run_until(lambda: reader.is_over, 300)
    assert reader.done is not None and transfer.lanes.counts["lost circuits"] >= len(pivots)
    assert set(hops) == {guard}


def test_a_guard_that_leaves_is_waited_for_and_then_the_second_carries_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pitfalls 10 and 11: nothing leaves by anybody else, and what cannot begin says so by its name."""
    monkeypatch.setattr(guards, "PATIENCE_S", 60.0)
    monkeypatch.setattr(guards, "CHECK_S", 20.0)
    net = made(15)
    data = random.Random(2).randbytes(700_000)
    uri = publish(net.nodes[0], data)
    node = next(one for one in net.nodes[1:] if one.core.stem.guard(net.now) != net.nodes[0].id)
    guard, second = node.core.stem.guards.ids[:2]
    reader, late = Reader(node, uri, len(data)), Reader(node, uri, len(data))
    reader.start()
    transfer = reader.transfer
    assert transfer is not None
    assert net.run_until(lambda: transfer.manifest is not None, 60, 0.05) and not reader.is_over
    net.down(net.by_id[guard])
    hops = first_hops(node)
    net.run(5)
    late.start()
    assert not late.is_over and not late.errors, "who begins while the guard is away waits for it as well"
    net.run(50)
    assert not hops
    assert not reader.is_over
    assert net.run_until(lambda: reader.is_over, 600, 2.0)
    assert reader.done is not None and set(hops) == {second}
    assert net.run_until(lambda: late.is_over, 600, 2.0) and late.done is not None and not late.errors


def test_with_fewer_and_fewer_peers_each_end_is_a_name_and_no_other_way_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pitfall 10, whole: 20 peers, then 5, 2, 1 and none; a node never is its own pivot, and never asks beside its guard."""
    net = made(16)
    uri = publish(net.nodes[0], DATA)
    node = net.nodes[1]
    started: list[str] = []
    monkeypatch.setattr(node.core.route, "fetch", lambda *_: started.append("fetch"))
    ours = {one for one in node.core.stem.guards.ids if one in net.by_id}
    hops = first_hops(node)
    names = set()
    others = [one for one in net.nodes if one is not node and one.id not in ours]
    others += [net.by_id[one] for one in ours]
    for left in (20, 5, 2, 1, 0):
        for other in others[: len(others) - left]:
            if other.is_up:
                net.down(other)
        reader = Reader(node, uri, len(DATA))
        node.core.cache.expire(net.now + 1e6)
        reader.start()
        assert net.run_until(lambda reader=reader: reader.is_over, 2_000, 2.0)  # type: ignore[misc]
        assert reader.done is not None or len(reader.errors) == 1
        names |= {*reader.errors} if reader.done is None else {"done"}
        assert reader.done is None or left >= 5
    assert not started and set(hops) <= ours
    assert "AnonymitySetTooSmall" in names
    assert names <= {"done", "AnonymitySetTooSmall", "NoAnonymousRoute", "PivotTimeout", "DataNotFound"}


# -- what could give an origin away ---------------------------------------------------------------------------------------


def test_a_transfer_of_any_size_has_one_first_hop(net: CoreNet, uri: ChkUri) -> None:
    """Pitfall 11: put and get, as the guard's neighbours could count them."""
    node = net.nodes[7]
    hops = first_hops(node)
    data = random.Random(3).randbytes(40 * DATA_BYTES)
    mine = publish(node, data)
    puts = len(hops)
    reader = Reader(node, uri, len(DATA))
    reader.start()
    assert net.run_until(lambda: reader.is_over, 60)
    assert reader.done is not None
    node.watch = None
    assert mine != uri and puts >= 2 and len(hops) >= puts + 2
    assert set(hops) == {node.core.stem.guard(net.now)}


def answers(net: CoreNet, node: CoreNode, keys: list[bytes], htl: int) -> set[bytes]:
    """Keys that this node answers with its own block when its neighbours ask, some each; the others it asks for elsewhere."""
    sent: list[Cell] = []
    node.watch = lambda to, cell, when: sent.append(cell)
    neighbours, uids = sorted(node.links), {os.urandom(16): key for key in keys}
    for number, (uid, key) in enumerate(uids.items()):
        came = neighbours[number % len(neighbours)]
        node.receive(came, cell_of(Fetch(uid, BlockType.CHK, key, htl, False)))
    net.run(5)
    node.watch = None
    asked = {cell.body[:16] for cell in sent if cell.command is Command.BLOCK}
    onward = {body.uid for cell in sent if isinstance(body := parse(cell), Fetch)}
    return {uids[uid] for uid in asked - onward if uid in uids}


def test_what_was_fetched_as_origin_is_answered_to_nobody() -> None:
    """Pitfall 4: two hundred keys later its neighbours get from it what they get from a node that fetched nothing."""
    net = made(17)
    for node in net.nodes:
        # What relays cache is not what is asked here.
        node.blocks.has_cache = False
    splitter = Splitter(bytes(32), redundant=False)
    blocks = list(splitter.feed(random.Random(4).randbytes(200 * DATA_BYTES)))
    uri, last = splitter.finish("application/octet-stream")
    origin, control = net.nodes[3], net.nodes[4]
    for number, block in enumerate([*blocks, *last]):
        for holder in net.nodes[5 + number % 2 :: 2]:
            holder.blocks.store[BlockType.CHK, block.routing] = (block.sealed,)
    reader = Reader(origin, uri, 200 * DATA_BYTES)
    reader.start()
    assert net.run_until(lambda: reader.is_over, 120) and reader.done is not None
    assert len(origin.core.cache) >= 200
    keys = [block.routing for block in blocks]
    for htl in (1, 12):
        for node in (origin, control):
            # What others gave it to store, as any node, and nothing beside that.
            stored = {key for key in keys if (BlockType.CHK, key) in node.blocks.store}
            assert answers(net, node, keys, htl) == stored and len(stored) < 10


def trace(node: CoreNode, came: bytes, body: Open, channel: int) -> list[tuple[bytes, Command, Open | None]]:
    """What this node does about an opening that comes by that link: to whom, which command, and what of it is no seal."""
    left: list[tuple[bytes, Command, Open | None]] = []

    def see(to: bytes, cell: Cell, when: float) -> None:
        if cell.command in (Command.OPEN, Command.CLOSE, Command.CELL):
            said = parse(cell)
            left.append((to, cell.command, replace(said, sealed=b"") if isinstance(said, Open) else None))

    node.watch = see
    node.receive(came, cell_of(body, channel))
    node.net.run(1.0)
    node.watch = None
    return left


def test_a_circuit_that_passes_its_origin_again_is_relayed_as_any(net: CoreNet) -> None:
    """Pitfall 15: its own seal comes back to it, by a stem edge or beyond the stem, and goes where a stranger's would."""
    for node in net.nodes[8:16]:
        opened: list[Open] = []
        node.watch = lambda to, cell, when, opened=opened: (
            opened.append(parse(cell)) if cell.command is Command.OPEN else None
        )
        reader = Reader(node, ChkUri(os.urandom(32), bytes(32)), 0)
        reader.start()
        net.run_until(lambda opened=opened: opened, 3)  # type: ignore[misc]
        assert reader.transfer is not None
        own = opened[0]
        edge = next(peer for peer in sorted(node.links) if node.core.stem.is_edge(peer))
        other = next(peer for peer in sorted(node.links) if not node.core.stem.is_edge(peer) and peer != own.pivot_id)
        reader.transfer.cancel(net.now)
        net.run(10)
        for came, phase, budget in ((edge, Phase.STEM, 0), (other, Phase.BRIDGE, BRIDGE_BUDGET)):
            odd = int(node.core.stem._links[came].is_client)
            seals = (own.sealed, os.urandom(len(own.sealed)))
            one, two = (
                trace(node, came, Open(phase, own.pivot_id, budget, sealed), 2 * number + 1000 + 1 - odd)
                for number, sealed in enumerate(seals)
            )
            assert Command.OPEN in {command for _, command, _ in one} or came == own.pivot_id
            assert first_opening(one) == first_opening(two)


def first_opening(left: list[tuple[bytes, Command, Open | None]]) -> tuple[bytes, Command, Open | None] | None:
    return next((row for row in left if row[1] is Command.OPEN), None)


def test_with_decoys_a_guard_gets_circuits_of_nodes_that_ask_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pitfall 16: without them the only active node is the only one that opens circuits."""
    monkeypatch.setattr(decoys, "DECOY_MEAN_S", 30.0)
    for active in (made(18), made(18, has_decoys=True)):
        opened: list[int] = []
        for node in active.nodes:
            count_openings(node, opened)
        publish(active.nodes[0], DATA)
        active.run(20)
        assert opened.count(0) >= 2
        assert (set(opened) == {0}) is not active.has_decoys
        assert not active.has_decoys or len(set(opened)) > NODES // 3


def count_openings(node: CoreNode, opened: list[int]) -> None:
    """The number of the node, for each circuit that it opens for itself."""
    circuits = node.core.client.channels.circuits
    begin = circuits.open

    def count(pivot: bytes, sealed: bytes, now: float) -> int | None:
        opened.append(node.number)
        return begin(pivot, sealed, now)

    circuits.open = count  # type: ignore[method-assign, assignment]


class Fresh:
    """A program that is started from one snapshot at one time, with real chance; what it says to its guard."""

    def __init__(self, node: CoreNode) -> None:
        self.known = KnownNodes(node.id)
        self.known.restore(node.known.rows(), NOW)
        identity = Identity(node.key, node.keys, bytes(32), 7)
        self.core = Core(
            identity,
            self.known,
            node.blocks,
            random.SystemRandom(),
            X25519PrivateKey.generate,
            NOW,
            drop=lambda *_: None,
        )
        self.core.stem.guards.restore(node.core.stem.guards.rows(), NOW)
        for peer in (*node.core.stem.guards.ids, *sorted(node.links)):
            if peer not in self.core.membership.links:
                self.core.link_up(peer, NOW, is_client=True)
        self.core.tick(NOW)
        self.core.due(NOW)
        for guard in node.core.stem.guards.ids[:2]:
            self.core.receive(guard, cell_of(EdgeAnswer(True)), NOW)
        self.errors: list[AnonymityError | None] = []
        self.core.client.get(
            ChkUri(bytes(32), bytes(32)), lambda *_: None, lambda error, now: self.errors.append(error), NOW
        )
        self.core.client.put(lambda count, back: back(b"", NOW), lambda *_: None, NOW, size=0)
        self.core.route.fetch(BlockType.CHK, bytes(32), lambda found: None, NOW)
        self.cells = [cell for _, cell in self.core.due(NOW + 20)]
        assert not self.errors


def test_two_starts_from_one_snapshot_at_one_time_draw_nothing_alike(net: CoreNet) -> None:
    """Pitfall 20: channels, seals, pings, uids and the keys of files come from the system's chance, none from the clock."""
    node = net.nodes[2]
    drawn, pinged = [], 0
    for _ in range(6):
        fresh = Fresh(node)
        opens = [(cell, parse(cell)) for cell in fresh.cells if cell.command is Command.OPEN]
        fetches = [parse(cell) for cell in fresh.cells if cell.command is Command.FETCH]
        pings = [cell.body for cell in fresh.cells if cell.command is Command.PING]
        assert len(opens) >= 2 and fetches
        pinged += bool(pings)
        values = {cell.channel for cell, _ in opens}
        sealed = {body.sealed for _, body in opens if isinstance(body, Open)}
        uids = {body.uid for body in fetches if isinstance(body, Fetch)}
        drawn.append(values | sealed | uids | set(pings))
        assert len(sealed) == len(opens)
    # Pings come when they like: one start in 600 has none in its time, five of six about once in 10 ** 13 runs.
    assert pinged >= 2
    for number, one in enumerate(drawn):
        for other in drawn[:number]:
            assert not one & other


def test_descriptors_of_two_starts_tell_no_more_than_the_hour(net: CoreNet) -> None:
    """Pitfalls 8 and 20: what a node says of itself in one hour is the same but for its number and signature."""
    one, two = (Fresh(net.nodes[2]).core.membership.own.current for _ in range(2))
    assert (one.node_id, one.pivot_keys, one.sequence) == (two.node_id, two.pivot_keys, two.sequence)
