"""Queries led by routing tables: to leaves at any TTL, to neighbours on the last hop."""

from __future__ import annotations

import random

import pytest

from gnutella.protocol import qrp
from gnutella.protocol.kinds import QUERY, ROUTE_TABLE
from gnutella.protocol.message import Message, Query, RoutePatch, RouteReset, encode
from gnutella.protocol.signals import decode_route_table
from gnutella.reasons import DropReason
from gnutella.routing.router import LinkInfo, Router
from gnutella.routing.tables import GRACE_S
from gnutella.settings import RoutingSettings
from gnutella.testing.overlay import Node, Overlay
from gnutella.testing.routers import OWN_ADDRESS, closes_of, guid_of, make_router, query_bytes, sent_by
from gnutella.units import LinkId

LEAF, OTHER_LEAF, A, B, C = (LinkId(number) for number in range(5))


def bytes_of(*messages: Message, hops: int = 0) -> bytes:
    return b"".join(encode(guid_of(99), 1, hops, message) for message in messages)


def table_bytes(*words: str, bits: int = 14) -> bytes:
    return bytes_of(*qrp.full_table(qrp.words_table(words, bits)))


def routed(trace: str = "own") -> Router:
    """Two leaves with tables, three neighbours of which B has one."""
    router = make_router(settings=RoutingSettings(trace=trace))  # type: ignore[arg-type]
    for link in (LEAF, OTHER_LEAF, A, B, C):
        is_leaf = link in (LEAF, OTHER_LEAF)
        info = LinkInfo(f"10.1.1.{link}", OWN_ADDRESS.host, is_leaf=is_leaf, is_ultrapeer=not is_leaf)
        router.link_opened(link, info, 0.0)
    router.receive(LEAF, table_bytes("purple", "elephant"), 0.0)
    router.receive(OTHER_LEAF, table_bytes("elephant", "gnutella", bits=16), 0.0)
    router.receive(B, table_bytes("purple", "ocean", bits=17), 0.0)
    assert router.counters.dropped() == {}
    return router


def reached(
    router: Router, source: LinkId, text: str, ttl: int, hops: int = 1, number: int = 1
) -> dict[LinkId, list[int]]:
    sent = sent_by(router.receive(source, query_bytes(text, guid_of(number), ttl=ttl, hops=hops), 1.0))
    return {link: [frame.ttl, frame.hops] for link, (frame,) in sent.items()}


@pytest.mark.parametrize("trace", ["own", "all"])
def test_a_leaf_gets_what_its_table_matches_at_whatever_ttl(trace: str) -> None:
    router = routed(trace)
    assert reached(router, A, "purple elephant", 4, number=1) == {LEAF: [3, 2], B: [3, 2], C: [3, 2]}
    assert reached(router, A, "elephant", 4, number=2) == {LEAF: [3, 2], OTHER_LEAF: [3, 2], B: [3, 2], C: [3, 2]}
    assert reached(router, A, "elephant purple", 1, number=3) == {LEAF: [1, 2]}
    assert reached(router, A, "nobody", 4, number=4) == {B: [3, 2], C: [3, 2]}


@pytest.mark.parametrize("trace", ["own", "all"])
def test_a_neighbour_with_a_table_gets_the_last_hop_only_when_it_matches(trace: str) -> None:
    router = routed(trace)
    assert reached(router, A, "purple ocean", 2, number=1) == {B: [1, 2], C: [1, 2]}
    assert reached(router, A, "gnutella", 2, number=2) == {OTHER_LEAF: [1, 2], C: [1, 2]}
    assert reached(router, C, "purple ocean", 2, number=3) == {A: [1, 2], B: [1, 2]}
    assert reached(router, B, "purple ocean", 2, number=4) == {A: [1, 2], C: [1, 2]}


def test_a_query_that_no_table_has_on_its_last_hop_is_counted() -> None:
    router = routed()
    router.link_closed(C, 0.0)
    assert reached(router, A, "gnutella nothing", 2) == {}
    assert router.counters.dropped() == {"no_table_match": 1}
    assert router.counters.queries_relayed == 0


def test_the_query_of_a_leaf_does_not_come_back_to_it() -> None:
    router = routed()
    assert set(reached(router, LEAF, "elephant", 4, hops=0)) == {OTHER_LEAF, A, B, C}


def test_a_chunk_of_queries_is_led_one_by_one() -> None:
    router = routed()
    texts = ["purple", "nobody", "elephant", "gnutella", "purple elephant"]
    chunk = b"".join(query_bytes(text, guid_of(n), ttl=2 + n % 2) for n, text in enumerate(texts))
    sent = sent_by(router.receive(A, chunk, 1.0))
    got = {link: [frame.guid[7] for frame in frames if frame.kind == QUERY] for link, frames in sent.items()}
    assert got[LEAF] == [0, 2, 4]
    assert got[OTHER_LEAF] == [2, 3]
    assert sorted(got[B]) == [0, 1, 3]
    assert sorted(got[C]) == [0, 1, 2, 3, 4]
    assert router.counters.messages[QUERY].tx == sum(map(len, got.values()))


def test_our_own_queries_are_led_too() -> None:
    router = routed()
    assert set(sent_by(router.search(Query("purple"), 1.0)[1])) == {LEAF, A, B, C}
    assert set(sent_by(router.search(Query("gnutella"), 1.0, ttl=1)[1])) == {OTHER_LEAF, A, C}


def test_a_leaf_without_a_table_gets_all_at_first_and_then_nothing() -> None:
    router = make_router()
    for link in (LEAF, A, B):
        router.link_opened(link, LinkInfo(f"10.1.1.{link}", OWN_ADDRESS.host, is_leaf=link == LEAF), 0.0)
    router.tick(GRACE_S - 1)
    assert set(reached(router, A, "purple", 4, number=1)) == {LEAF, B}
    router.tick(GRACE_S)
    assert set(reached(router, A, "purple", 4, number=2)) == {B}
    assert reached(router, A, "purple", 1, number=3) == {}
    assert LEAF not in sent_by(router.search(Query("purple"), 1.0)[1])
    router.receive(LEAF, table_bytes("purple"), GRACE_S + 1)
    assert set(reached(router, A, "purple", 4, number=4)) == {LEAF, B}


def test_a_leaf_that_resets_its_table_gets_nothing_until_it_is_complete() -> None:
    router = routed()
    router.receive(LEAF, bytes_of(RouteReset(16384, 7)), 1.0)
    assert LEAF not in reached(router, A, "purple", 4, number=1)
    (patch,) = qrp.patches(bytes(16384), qrp.words_table(["ocean"], 14))
    router.receive(LEAF, bytes_of(patch), 1.0)
    assert LEAF in reached(router, A, "ocean", 4, number=2)


def test_a_leaf_whose_transport_pushes_back_gets_its_queries_later() -> None:
    router = routed()
    router.blocked(LEAF, 1.0)
    assert LEAF not in reached(router, A, "purple", 4)
    (frame,) = sent_by(router.unblocked(LEAF, 2.0))[LEAF]
    assert (frame.kind, frame.ttl, frame.hops) == (QUERY, 3, 2)


def test_a_leaf_that_is_gone_leaves_no_trace_in_the_index() -> None:
    router = routed()
    router.link_closed(LEAF, 1.0)
    assert set(reached(router, A, "purple elephant", 4)) == {B, C}


@pytest.mark.parametrize(
    "messages",
    [
        [RoutePatch(1, 1, 0, 4, bytes(8192))],
        [RouteReset(16383, 7)],
        [RouteReset(1 << 22, 7)],
        [RouteReset(16384, 0)],
        [RouteReset(16384, 7), RoutePatch(2, 2, 0, 4, bytes(4096))],
        [RouteReset(16384, 7), RoutePatch(1, 3, 0, 4, bytes(4096)), RoutePatch(3, 3, 0, 4, bytes(4096))],
        [RouteReset(16384, 7), RoutePatch(1, 1, 0, 4, bytes(8191))],
        [RouteReset(16384, 7), RoutePatch(1, 1, 1, 4, b"no zlib")],
        [RouteReset(16384, 7), RoutePatch(1, 1, 0, 3, bytes(8192))],
    ],
)
def test_a_table_against_the_rules_closes_its_link_with_413(messages: list[RouteReset | RoutePatch]) -> None:
    router = make_router()
    router.link_opened(A, LinkInfo("10.1.1.1", OWN_ADDRESS.host, is_leaf=True), 0.0)
    assert closes_of(router.receive(A, bytes_of(*messages), 1.0)) == {A: DropReason.BAD_ROUTE_TABLE}
    assert router.counters.dropped() == {"bad_route_table": 1}
    assert DropReason.BAD_ROUTE_TABLE.bye == 413


def test_a_table_that_was_passed_on_is_dropped() -> None:
    router = routed()
    router.receive(LEAF, bytes_of(RouteReset(16384, 7), hops=1), 1.0)
    assert router.counters.dropped() == {"bad_route_table": 1}
    assert LEAF in reached(router, A, "purple", 4)


# -- as a leaf ---------------------------------------------------------------------------------------------------------


def leaf_router() -> Router:
    router = make_router(["purple elephant"], is_leaf=True)
    for link in (A, B):
        router.link_opened(link, LinkInfo(f"10.1.1.{link}", OWN_ADDRESS.host, reads_tables=True), 0.0)
    return router


def test_a_leaf_answers_and_passes_nothing_on() -> None:
    router = leaf_router()
    sent = sent_by(router.receive(A, query_bytes("purple"), 1.0))
    assert set(sent) == {A}
    hit = sent[A][0].message
    assert sent_by(router.receive(B, hit[:17] + bytes((4, 0)) + hit[19:-16] + bytes(range(16)), 1.0)) == {}
    assert router.counters.dropped() == {"no_route": 1}
    assert router.counters.queries_relayed == 0
    (frame,) = sent_by(router.search(Query("x y z"), 1.0)[1])[A]
    assert frame.hops == 0


def test_a_leaf_tells_its_table_once_the_library_is_known_and_keeps_none() -> None:
    router = leaf_router()
    assert ROUTE_TABLE not in {frame.kind for frames in sent_by(router.tick(1.0)).values() for frame in frames}
    router.set_words(qrp.hashes_of(["purple elephant"]))
    sent = sent_by(router.tick(2.0))
    for link in (A, B):
        assert [(frame.kind, frame.ttl, frame.hops) for frame in sent[link]] == [(ROUTE_TABLE, 1, 0)] * 2
    assert router.receive(A, table_bytes("purple"), 3.0) == []
    assert set(sent_by(router.search(Query("other"), 3.0)[1])) == {A, B}


def test_a_library_that_changes_is_told_as_what_changed_and_leads_queries_from_then_on() -> None:
    """Leaf, its ultrapeer and a neighbour of that, which is told the union: files that come, and files that go."""
    leaf, ultrapeer = make_router(is_leaf=True), make_router()
    leaf.link_opened(A, LinkInfo("10.1.1.9", OWN_ADDRESS.host, reads_tables=True), 0.0)
    ultrapeer.link_opened(LEAF, LinkInfo("10.1.1.8", OWN_ADDRESS.host, is_leaf=True, is_ultrapeer=False), 0.0)
    ultrapeer.link_opened(B, LinkInfo("10.1.1.7", OWN_ADDRESS.host, reads_tables=True), 0.0)
    ultrapeer.link_opened(C, LinkInfo("10.1.1.6", OWN_ADDRESS.host), 0.0)
    ultrapeer.set_words(())
    neighbour = qrp.RouteTable()

    def told(now: float) -> list[str]:
        """What goes over the wire until then; each message by its kind, the leaf's before the ultrapeer's."""
        said = []
        for router, link in ((leaf, A), (ultrapeer, B)):
            for frame in sent_by(router.tick(now)).get(link, []):
                if frame.kind == ROUTE_TABLE:
                    message = decode_route_table(frame.payload)
                    said.append(type(message).__name__)
                    if link == A:
                        ultrapeer.receive(LEAF, frame.message, now)
                    else:
                        neighbour.receive(message)
        return said

    def leads(word: str, number: int) -> bool:
        sent = sent_by(ultrapeer.receive(C, query_bytes(word, guid_of(number)), 100.0))
        return LEAF in sent

    leaf.set_words(qrp.hashes_of(["purple elephant.ogg"]))
    assert told(1.0) == ["RouteReset", "RoutePatch"] * 2
    leaf.set_words(qrp.hashes_of(["purple elephant.ogg", "green turtle.ogg"]))
    assert told(7.0) == ["RoutePatch"] * 2, "no reset"
    assert (leads("turtle", 1), leads("elephant", 2), neighbour.has("turtle")) == (True, True, True)
    leaf.set_words(qrp.hashes_of(["green turtle.ogg"]))
    said = [name for second in range(8, 60) for name in told(float(second))]
    assert said == ["RoutePatch"] * 2
    assert (leads("turtle", 3), leads("elephant", 4), neighbour.has("elephant")) == (True, False, False)


# -- an overlay --------------------------------------------------------------------------------------------------------

WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_an_overlay_every_leaf_with_the_file_is_found_and_others_are_left_alone(seed: int) -> None:
    rng = random.Random(seed)
    overlay = Overlay(random.Random(seed), routed=True, fragment=True)
    ups = [overlay.add(f"up{number}") for number in range(4)]
    for number in range(1, 4):
        overlay.connect(ups[number], ups[number - 1])
    leaves: list[Node] = []
    files: dict[str, str] = {}
    for number in range(16):
        name = f"leaf{number}"
        files[name] = " ".join(rng.sample(WORDS, 2)) + ".ogg"
        leaf = overlay.add(name, [files[name]], is_leaf=True)
        leaves.append(leaf)
        for up in rng.sample(ups, 2):
            overlay.connect(leaf, up, dialler_is_leaf=True)
    overlay.run(20.0)
    got: dict[bytes, set[str]] = {}
    overlay.watchers.append(
        lambda node, link, frame: got.setdefault(frame.guid, set()).add(node.name) if frame.kind == QUERY else None
    )
    for number, word in enumerate(WORDS):
        asker = leaves[number]
        guid = overlay.search(asker, word, ttl=4)
        overlay.run(overlay.now + 10.0)
        due = {leaf for leaf in leaves if word in files[leaf.name] and leaf is not asker}
        found = {hit.hit.servent_id for hit in asker.hits[guid]}
        assert found == {leaf.router.servent_id for leaf in due}
        assert {name for name in got[guid] if name.startswith("leaf")} == {leaf.name for leaf in due}
