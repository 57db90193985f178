"""Key routing of many nodes in virtual time: what is stored is found, in few hops, near no pivot, whoever leaves or cheats."""

from __future__ import annotations

import hashlib
from collections import Counter

from anonymizer.blocks import distance, location
from anonymizer.fetching import Fetched
from anonymizer.reasons import Refusal
from anonymizer.ssk import WriteKey
from anonymizer.wire import AnyBody, Block, BlockType, Fetch, Offer, Store
from gnutella.testing.route_net import RouteNet, RouteNode

CHK = BlockType.CHK


def run(net: RouteNet, told: list[Fetched]) -> Fetched:
    while not told:
        assert net.clock.step()
    return told[0]


def stored(net: RouteNet, count: int) -> dict[bytes, bytes]:
    """Blocks that were stored by nodes chosen by chance."""
    blocks = dict(net.new_block() for _ in range(count))
    told = [net.store(net.rng.choice(net.nodes), CHK, routing, block) for routing, block in blocks.items()]
    net.clock.run(net.clock.now + 150)
    assert [copies for (copies,) in told] == [3] * count
    return blocks


def ended(net: RouteNet) -> None:
    """Nothing is left under way."""
    net.clock.run(net.clock.now + 150)
    for node in net.nodes:
        if node.is_up:
            sizes = node.route.sizes()
            assert (sizes["walks"], sizes["liability"], sizes["takes"]) == (0, 0, 0)


def test_what_is_stored_is_found_in_few_hops() -> None:
    net = RouteNet(200, seed=3, has_caches=False, encode=True)
    assert 10 <= net.degree <= 12
    blocks = stored(net, 30)
    hops, missed = [], 0
    for routing, block in blocks.items():
        for _ in range(4):
            net.carried.clear()
            fetched = run(net, net.fetch(net.rng.choice(net.nodes), CHK, routing))
            missed += not fetched.blocks
            assert fetched.blocks in ((), (block,))
            hops.append(len(net.sent(Block)))
    assert missed <= 1
    assert sum(hops) / len(hops) <= 3
    ended(net)


def test_three_nodes_keep_a_block_and_they_are_near_its_place() -> None:
    net = RouteNet(100, seed=5)
    ranks = []
    for routing in stored(net, 20):
        place = location(CHK, routing)
        ring = sorted(net.nodes, key=lambda node: distance(node.place, place))
        holders = net.holders(CHK, routing)
        assert len(holders) == 3
        ranks.append(min(ring.index(node) for node in holders))
    assert Counter(ranks)[0] >= 18


def test_neither_pivot_nor_its_first_neighbour_caches_what_was_fetched_and_relays_beyond_them_do() -> None:
    net = RouteNet(200, seed=7)
    beyond = 0
    for routing in stored(net, 30):
        for node in net.nodes:
            node.blocks.cache.clear()
        net.carried.clear()
        pivot = net.rng.choice(net.nodes)
        assert run(net, net.fetch(pivot, CHK, routing)).blocks
        first = {to for came, to, body in net.carried if isinstance(body, Fetch) and came == pivot.id}
        cached = {node.id for node in net.nodes if node.blocks.cache}
        assert not cached & (first | {pivot.id})
        beyond += len(cached)
    assert beyond > 10


def probe(net: RouteNet, asker: RouteNode, target: RouteNode, routing: bytes, htl: int) -> AnyBody | None:
    """What a neighbour is answered that asks for one key."""
    uid = hashlib.sha256(routing + asker.id + bytes((htl,))).digest()[:16]
    net.carried.clear()
    asker.net.carry(asker, target.id, Fetch(uid, CHK, routing, htl, False))
    net.clock.run(net.clock.now + 70)
    answers = [body for came, to, body in net.carried if (came, to) == (target.id, asker.id)]
    return next((body for body in answers if isinstance(body, Block) and body.uid == uid), None)


def test_neighbours_that_probe_a_pivot_learn_nothing_of_what_it_fetched() -> None:
    """Attack A10: all that the pivot's store and cache answer is what those of a pivot answer that fetched nothing."""
    found = []
    for fetches in (True, False):
        net = RouteNet(60, seed=9)
        keys = list(stored(net, 20))
        for node in net.nodes:
            node.blocks.cache.clear()
        pivot = net.nodes[0]
        held = set(pivot.blocks.store)
        if fetches:
            for routing in keys:
                assert run(net, net.fetch(pivot, CHK, routing)).blocks
        assert (set(pivot.blocks.store), pivot.blocks.cache) == (held, {})
        # Only what is answered from the pivot's own blocks: it has nobody else to ask.
        asker = net.by_id[min(pivot.links)]
        for peer in sorted(pivot.links - {asker.id}):
            net.unlink(pivot, net.by_id[peer])
        found.append([probe(net, asker, pivot, routing, htl) is not None for routing in keys for htl in (1, 12)])
    assert found[0] == found[1]


def test_a_request_sent_again_by_anybody_is_refused_alike_by_its_pivot_and_by_its_relays() -> None:
    """Attack A13: who has seen an id learns of each node no more than that the request was there."""
    net = RouteNet(60, seed=11)
    (routing,) = stored(net, 1)
    pivot = next(node for node in net.nodes if node not in net.holders(CHK, routing))
    net.carried.clear()
    run(net, net.fetch(pivot, CHK, routing))
    uid = net.sent(Fetch)[0].uid
    seen = {pivot.id} | {to for _, to, body in net.carried if isinstance(body, Fetch) and body.uid == uid}
    for node in net.nodes:
        net.carried.clear()
        spy = min(node.links)
        node.route.receive(spy, Fetch(uid, CHK, routing, 5, False), net.clock.now)
        answers = [type(body).__name__ for came, to, body in net.carried if (came, to) == (node.id, spy)]
        assert answers == (["Reject"] if node.id in seen else ["Accepted"])


class Forger(RouteNode):
    """Answers every request with a block that is not the right one."""

    def receive(self, came: bytes, body: AnyBody) -> None:
        if isinstance(body, Fetch) and came in self.links:
            self.send(came, Block(body.uid, CHK, b"\x01\x01" + bytes(32_786)))


class Swallower(RouteNode):
    """Answers nothing."""

    def receive(self, came: bytes, body: AnyBody) -> None:
        pass


def corrupt(net: RouteNet, share: float, kind: type[RouteNode]) -> None:
    for node in net.rng.sample(net.nodes, int(share * len(net.nodes))):
        node.__class__ = kind


def test_forged_blocks_are_found_out_by_the_first_honest_node_and_their_makers_banned() -> None:
    net = RouteNet(60, seed=13)
    blocks = stored(net, 20)
    corrupt(net, 0.1, Forger)
    honest = [node for node in net.nodes if type(node) is RouteNode]
    found = 0
    for routing, block in blocks.items():
        fetched = run(net, net.fetch(net.rng.choice(honest), CHK, routing))
        found += fetched.blocks == (block,)
        assert fetched.blocks in ((), (block,))
    for node in honest:
        assert all(type(net.by_id[banned]) is Forger for banned in node.bans)
        assert all(held in blocks.values() for (held,) in (node.blocks.cache | node.blocks.store).values())
    assert sum(node.route.refusals[Refusal.BAD_BLOCK] for node in honest) > 0
    assert found >= 19


def test_nodes_that_swallow_requests_cost_time_and_most_is_found_nevertheless() -> None:
    net = RouteNet(60, seed=15)
    blocks = stored(net, 30)
    corrupt(net, 0.1, Swallower)
    honest = [node for node in net.nodes if type(node) is RouteNode]
    found = [run(net, net.fetch(net.rng.choice(honest), CHK, routing)) for routing in blocks]
    assert sum(bool(fetched.blocks) for fetched in found) >= 28
    ended(net)


def test_what_is_published_after_it_was_asked_for_is_offered_to_who_asked() -> None:
    net = RouteNet(100, seed=17)
    routing, block = net.new_block()
    for node in net.rng.sample(net.nodes, 5):
        assert run(net, net.fetch(node, CHK, routing)).reason is not None
    net.carried.clear()
    net.store(net.nodes[0], CHK, routing, block)
    net.clock.run(net.clock.now + 150)
    assert net.sent(Offer)
    assert len(net.sent(Store)) <= 15
    assert run(net, net.fetch(net.nodes[1], CHK, routing)).blocks == (block,)


def test_a_record_is_replaced_by_a_newer_one_and_found_at_its_second_place() -> None:
    net = RouteNet(60, seed=19)
    key = WriteKey(b"k" * 32, b"r" * 32)
    routing = key.read_key.routing("news")
    records = [key.write("news", number, b"%d" % number, bytes(16)) for number in (1, 2)]
    for record in records:
        for second in (False, True):
            net.store(net.rng.choice(net.nodes), BlockType.SSK, routing, record, second)
            net.clock.run(net.clock.now + 150)
    for second in (False, True):
        for node in net.rng.sample(net.nodes, 20):
            assert run(net, net.fetch(node, BlockType.SSK, routing, second)).blocks == (records[1],)
