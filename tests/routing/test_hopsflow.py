"""Hops flow: whom queries are not sent to, whatever way they would take, and what a busy leaf of ours says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol import qrp
from gnutella.protocol.kinds import QUERY
from gnutella.protocol.message import Query, encode
from gnutella.protocol.vendor import HopsFlow
from gnutella.routing.hopsflow import LOOK_S, NORMAL_HOPS
from gnutella.routing.router import LinkInfo, Router
from gnutella.testing.routers import OWN_ADDRESS, guid_of, make_router, query_bytes, sent_by
from gnutella.testing.vendors import open_reader, told, wire
from gnutella.units import LinkId

LEAF, GUIDED, A, B, GUIDED_PEER = (LinkId(number) for number in range(5))
ALL = (LEAF, GUIDED, A, B, GUIDED_PEER)


def table(*words: str) -> bytes:
    return b"".join(encode(guid_of(99), 1, 0, part) for part in qrp.full_table(qrp.words_table(words, 14)))


def router_with_links() -> Router:
    """A leaf and a neighbour with tables, and two and one without; queries come from A."""
    router = make_router()
    for link in ALL:
        open_reader(router, link, f"10.1.1.{link + 1}", is_leaf=link in (LEAF, GUIDED))
    router.receive(GUIDED, table("purple"), 0.0)
    router.receive(GUIDED_PEER, table("purple"), 0.0)
    return router


def reached(router: Router, number: int, *, ttl: int = 4, hops: int = 1) -> set[LinkId]:
    """Who gets a query that A sends."""
    return set(sent_by(router.receive(A, query_bytes("purple", guid_of(number), ttl=ttl, hops=hops), 1.0)))


def say(router: Router, link: LinkId, hops: int) -> None:
    router.receive(link, wire(HopsFlow(hops)), 0.5)
    router.tick(0.6)


@pytest.mark.parametrize("quiet", [LEAF, GUIDED, B, GUIDED_PEER])
def test_whoever_wants_no_queries_gets_none_until_it_wants_them_again(quiet: LinkId) -> None:
    router = router_with_links()
    others = {LEAF, GUIDED, B, GUIDED_PEER}
    assert reached(router, 1) == others
    say(router, quiet, 0)
    assert reached(router, 2) == others - {quiet}
    assert reached(router, 3, ttl=1) == {LEAF, GUIDED} - {quiet}
    assert reached(router, 4, ttl=2) == others - {quiet}
    _, actions = router.search(Query("purple"), 2.0)
    assert set(sent_by(actions)) == {A, *others} - {quiet}
    say(router, quiet, NORMAL_HOPS)
    assert reached(router, 5) == others


@pytest.mark.parametrize("picky", [LEAF, GUIDED, B, GUIDED_PEER])
def test_whoever_wants_queries_of_few_hops_gets_those(picky: LinkId) -> None:
    router = router_with_links()
    say(router, picky, 3)
    assert picky in reached(router, 1, hops=1), "it arrives with two hops"
    assert picky not in reached(router, 2, hops=2)
    chunk = query_bytes("purple", guid_of(3), hops=1) + query_bytes("purple", guid_of(4), hops=2)
    got = sent_by(router.receive(A, chunk, 1.0))
    assert [frame.guid for frame in got[picky]] == [guid_of(3)]
    assert [frame.hops for frame in got[picky]] == [2]
    assert {len(frames) for link, frames in got.items() if link != picky} == {2}


def test_what_a_blocked_link_wants_holds_for_its_queue_too() -> None:
    router = router_with_links()
    say(router, B, 3)
    router.blocked(B, 1.0)
    reached(router, 1, hops=2)
    reached(router, 2, hops=1)
    waiting = sent_by(router.unblocked(B, 2.0))[B]
    assert [frame.guid for frame in waiting if frame.kind == QUERY] == [guid_of(2)]


def test_a_leaf_that_wants_nothing_is_not_worth_leading_queries_to() -> None:
    router = router_with_links()
    tables = router._tables
    merged, version = tables.leaves.merged(14), tables.leaves.version
    assert any(merged)
    say(router, GUIDED, 0)
    assert not any(tables.leaves.merged(14))
    assert tables.leaves.version != version, "neighbours are told"
    say(router, GUIDED, 5)
    assert tables.leaves.merged(14) == merged


@pytest.mark.parametrize(("hops", "is_told"), [(1, False), (2, False), (3, True), (4, True)])
def test_neighbours_are_not_told_of_a_leaf_that_wants_next_to_nothing_of_theirs(hops: int, is_told: bool) -> None:
    router = router_with_links()
    tables = router._tables
    version = tables.leaves.version
    say(router, GUIDED, hops)
    assert any(tables.leaves.merged(14)) is is_told
    assert (tables.leaves.version != version) is not is_told
    assert GUIDED in reached(router, 1, hops=hops - 2) if hops > 1 else GUIDED not in reached(router, 1, hops=0)
    say(router, GUIDED, NORMAL_HOPS)
    assert any(tables.leaves.merged(14))


def test_a_leaf_that_wanted_nothing_before_it_told_its_table_still_wants_nothing() -> None:
    router = router_with_links()
    say(router, LEAF, 0)
    router.receive(LEAF, table("purple"), 1.0)
    assert LEAF not in reached(router, 1)
    say(router, LEAF, 1)
    assert LEAF not in reached(router, 2), "nothing that was ever passed on"
    say(router, LEAF, 5)
    assert LEAF in reached(router, 3)


def test_a_peer_that_keeps_changing_its_mind_costs_one_change_a_tick() -> None:
    router = router_with_links()
    version = router._tables.leaves.version
    router.receive(GUIDED, b"".join(wire(HopsFlow(value)) for value in [0, 5] * 200 + [0]), 0.5)
    assert router._tables.leaves.version == version
    router.tick(0.6)
    assert router._tables.leaves.version == version + 1


def test_the_counters_of_a_link_tell_what_it_wants() -> None:
    router = router_with_links()
    say(router, B, 2)
    assert (router.link_counters(B) or {})["hops_flow"] == 2
    say(router, B, NORMAL_HOPS)
    assert "hops_flow" not in (router.link_counters(B) or {})


def test_a_link_that_left_is_forgotten() -> None:
    router = router_with_links()
    router.receive(B, wire(HopsFlow(0)), 0.5)
    router.link_closed(B, 0.5)
    router.tick(0.6)
    assert B not in reached(router, 1)


def test_a_leaf_of_ours_says_that_it_is_busy_and_that_it_is_no_more() -> None:
    router = make_router(is_leaf=True)
    open_reader(router, A, "10.1.1.1")
    router.link_opened(B, LinkInfo("10.1.1.2", OWN_ADDRESS.host), 0.0)

    def said(now: float) -> dict[LinkId, list[object]]:
        found = {}
        for link, bodies in told(router.tick(now)).items():
            if flow := [body for body in bodies if isinstance(body, HopsFlow)]:
                found[link] = flow
        return found  # type: ignore[return-value]

    router.self.is_busy = True
    assert said(1.0) == {}
    assert said(LOOK_S) == {A: [HopsFlow(0)]}, "B never said that it reads it"
    assert said(2 * LOOK_S) == {}, "once is enough"
    router.self.is_busy = False
    assert said(2 * LOOK_S + 1) == {}
    assert said(3 * LOOK_S) == {A: [HopsFlow(5)]}


def test_a_leaf_that_becomes_an_ultrapeer_takes_its_word_back() -> None:
    router = make_router(is_leaf=True)
    open_reader(router, A, "10.1.1.1")
    router.self.is_busy = True
    assert HopsFlow(0) in told(router.tick(LOOK_S))[A]
    router._board.is_leaf = False
    assert HopsFlow(5) in told(router.tick(2 * LOOK_S))[A]
    assert A not in told(router.tick(3 * LOOK_S))


def test_an_ultrapeer_of_ours_says_nothing_of_the_sort() -> None:
    router = make_router()
    open_reader(router, A, "10.1.1.1")
    router.self.is_busy = True
    assert HopsFlow(0) not in told(router.tick(2 * LOOK_S)).get(A, [])


@given(st.lists(st.tuples(st.sampled_from([LEAF, GUIDED, B, GUIDED_PEER]), st.integers(0, 255)), max_size=12))
def test_nobody_ever_gets_a_query_of_more_hops_than_it_wants(says: list[tuple[LinkId, int]]) -> None:
    router = router_with_links()
    wanted = dict.fromkeys(ALL, 255)
    number = 0
    for link, value in says:
        say(router, link, value)
        wanted[link] = value if value < NORMAL_HOPS else 255
        for hops in range(5):
            number += 1
            got = reached(router, number, ttl=7 - hops, hops=hops)
            assert got == {link for link in ALL if link != A and hops + 1 < wanted[link]}
