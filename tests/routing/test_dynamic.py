"""Queries that the router drives: its own and its leaves', step by step; probes that are extended; what leaves say."""

from __future__ import annotations

import random

import pytest

from gnutella.protocol import qrp
from gnutella.protocol.kinds import QUERY, VENDOR
from gnutella.protocol.message import HitRecord, Query, QueryHit, VendorMessage, encode, make_query
from gnutella.protocol.query import FLAG_GUIDED
from gnutella.protocol.vendor import Body, MessagesSupported, QueryStatus, QueryStatusRequest, body_of
from gnutella.protocol.vendor_out import message_of
from gnutella.reasons import DropReason
from gnutella.routing import dynamic
from gnutella.routing.actions import Action
from gnutella.routing.guidance import ANSWER_S, ASK_EVERY, ENOUGH, MAX_KEPT, MAX_MISSED, TELL_EVERY, Guided
from gnutella.routing.router import LinkInfo, Router
from gnutella.settings import RoutingSettings
from gnutella.superpeers.dynamic import PROBES_FAR, WANTED_HASH, WANTED_LEAF
from gnutella.testing.overlay import Overlay
from gnutella.testing.routers import OWN_ADDRESS, closes_of, guid_of, make_router, query_bytes, sent_by
from gnutella.units import Address, Guid, LinkId

LEAF, OTHER_LEAF = LinkId(100), LinkId(101)
STATUS = ((b"BEAR", 11, 1), (b"BEAR", 12, 1))


def info(number: int, *, is_leaf: bool = False, agent: str = "PyGnutella/9", is_dynamic: bool = True) -> LinkInfo:
    return LinkInfo(
        f"10.1.2.{number}",
        OWN_ADDRESS.host,
        is_leaf=is_leaf,
        is_ultrapeer=not is_leaf,
        degree=32,
        is_dynamic=is_dynamic,
        extends_probes=is_dynamic,
        vendor_messages=True,
        user_agent=agent,
    )


def ultrapeer(
    neighbours: int = 10, *, agent: str = "PyGnutella/9", seed: int = 1, settings: RoutingSettings | None = None
) -> Router:
    """With neighbours 0, 1, ... and two leaves that read and send query status."""
    router = make_router(settings=settings, seed=seed)
    for number in range(neighbours):
        router.link_opened(LinkId(number), info(number), 0.0)
    for leaf in (LEAF, OTHER_LEAF):
        router.link_opened(leaf, info(int(leaf), is_leaf=True, agent=agent), 0.0)
        router.receive(leaf, signal(MessagesSupported(STATUS)), 0.0)
    return router


def table(*words: str) -> bytes:
    return b"".join(encode(guid_of(9), 1, 0, part) for part in qrp.full_table(qrp.words_table(words, 14)))


def signal(body: Body, guid: Guid | None = None, hops: int = 0) -> bytes:
    return encode(guid or guid_of(77), 1, hops, message_of(body))


def hits(guid: Guid, results: int, number: int = 1) -> bytes:
    """A neighbour's hits of so many results."""
    servent = Guid(bytes([number + 1]) * 8 + b"\xff" + bytes([number + 1]) * 6 + b"\0")
    address = Address(f"10.3.0.{number + 1}", 6346)
    whole = b""
    for start in range(0, results, 10):
        records = tuple(
            HitRecord(n + 1, 10, f"hello {n}.ogg", bytes(20)) for n in range(start, min(results, start + 10))
        )
        whole += encode(guid, 5, 0, QueryHit(address, 10, records, b"TEST", servent))
    return whole


def queries(actions: list[Action]) -> dict[LinkId, tuple[int, int]]:
    """Link -> TTL and hops of the one query it gets."""
    found = {link: [f for f in sent if f.kind == QUERY] for link, sent in sent_by(actions).items()}
    return {link: (sent[0].ttl, sent[0].hops) for link, sent in found.items() if len(sent) == 1}


def told(actions: list[Action]) -> dict[LinkId, Body | None]:
    """Link -> what the one vendor message says that it gets."""
    found = {link: [f for f in sent if f.kind == VENDOR] for link, sent in sent_by(actions).items()}
    return {link: body_of(VendorMessage.decode(sent[0].payload)) for link, sent in found.items() if len(sent) == 1}


def ask(router: Router, *, leaf: LinkId = LEAF, guid: Guid | None = None) -> list[Action]:
    """A leaf asks, and guides its query."""
    return router.receive(leaf, encode(guid or guid_of(1), 4, 0, Query("hello", 0x8000 | FLAG_GUIDED)), 1.0)


# -- whom it goes to -----------------------------------------------------------------------------------------------------


def test_a_search_of_our_own_goes_out_step_by_step() -> None:
    router = ultrapeer()
    guid, actions = router.search(Query("hello"), 1.0)
    first = queries(actions)
    assert {LEAF, OTHER_LEAF} < set(first)  # they have no tables yet
    probed = {link: row for link, row in first.items() if link < 100}
    assert list(probed.values()) == [(4, 0)] * PROBES_FAR
    assert queries(router.tick(2.0)) == {}
    rest = queries(router.tick(5.0))
    assert set(probed) | set(rest) == {LinkId(number) for number in range(10)}
    assert len(probed) + len(rest) == 10
    router.tick(10.0)
    assert router.table_sizes()["driven"] == 0
    assert [step.step for step in router.trace(guid)][-1] == "asked enough, 0 results"


def test_the_query_of_a_leaf_goes_to_leaves_at_once_and_to_neighbours_step_by_step() -> None:
    router = ultrapeer()
    router.receive(OTHER_LEAF, table("hello"), 0.5)
    first = queries(ask(router))
    assert first.pop(OTHER_LEAF) == (1, 1)
    assert list(first.values()) == [(3, 1)] * PROBES_FAR
    assert router.counters.queries_relayed == 1
    rest = queries(router.tick(5.0))
    assert LEAF not in rest
    assert len(first) + len(rest) == 10


def test_what_is_popular_among_our_leaves_goes_no_further_until_they_failed_to_answer() -> None:
    router = make_router()
    for number in range(20):
        router.link_opened(LinkId(number), info(number), 0.0)
    for number in range(100, 180):
        router.link_opened(LinkId(number), info(number, is_leaf=True), 0.0)
        router.receive(LinkId(number), table("hello"), 0.0)
    first = queries(ask(router))
    assert len(first) == 79
    assert min(first) >= 100
    router.receive(OTHER_LEAF, hits(guid_of(1), 40), 2.0)
    second = queries(router.tick(3.0))
    assert set(second.values()) == {(1, 1)}
    assert max(second) < 100


def test_enough_results_end_it() -> None:
    router = ultrapeer()
    ask(router)
    router.receive(LinkId(3), hits(guid_of(1), WANTED_LEAF), 2.0)
    asked = router.tick(5.0)
    assert queries(asked) == {}
    assert told(asked) == {LEAF: QueryStatusRequest()}  # it may keep fewer; without a word from it, they all count
    assert router.tick(6.0) == []
    assert router.table_sizes()["driven"] == 0


def test_fewer_results_do_for_a_hash() -> None:
    router = ultrapeer()
    guid, _ = router.search(make_query("", urns=("urn:sha1:PLSTHIPQGSSZTS5FJUPAKUZWUGYQYPFB",)), 1.0)
    router.receive(LinkId(3), hits(guid, WANTED_HASH), 2.0)
    assert queries(router.tick(5.0)) == {}
    assert router.table_sizes()["driven"] == 0


@pytest.mark.parametrize("how", ["stop", "leaf gone", "setting"])
def test_it_ends_when_nobody_waits_for_it(how: str) -> None:
    router = ultrapeer()
    if how == "stop":
        guid, _ = router.search(Query("hello"), 1.0)
        assert router.stop_search(guid) == []
    elif how == "setting":
        ask(router)
        router.use_settings(RoutingSettings(dynamic_queries=False))
    else:
        ask(router)
        router.link_closed(LEAF, 2.0)
    assert queries(router.tick(5.0)) == {}
    assert router.table_sizes()["driven"] == 0


def test_the_setting_floods_as_of_old() -> None:
    router = ultrapeer(settings=RoutingSettings(dynamic_queries=False))
    assert len(queries(router.search(Query("hello"), 1.0)[1])) == 12
    assert set(queries(ask(router, guid=guid_of(2)))) == {OTHER_LEAF, *(LinkId(number) for number in range(10))}
    assert router.table_sizes()["driven"] == 0


def test_a_neighbour_for_which_too_much_waits_is_left_out_until_it_takes_it() -> None:
    router = ultrapeer(neighbours=3)
    router.blocked(LinkId(0), 1.0)
    for number in range(300):
        router.receive(LinkId(1), query_bytes("x" * 200, guid_of(number + 10)), 1.0)
    before = router.queued_bytes(LinkId(0))
    assert set(queries(router.search(Query("hello"), 2.0)[1])) == {LinkId(1), LinkId(2), LEAF, OTHER_LEAF}
    assert router.queued_bytes(LinkId(0)) == before
    router.unblocked(LinkId(0), 3.0)
    assert set(queries(router.tick(6.0))) == {LinkId(0)}


# -- limits ----------------------------------------------------------------------------------------------------------------


def test_a_leaf_may_have_only_so_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic, "MAX_OF_LEAF", 3)
    router = ultrapeer()
    for number in range(5):
        ask(router, guid=guid_of(number))
    assert router.counters.dropped() == {"too_many_queries": 2}
    assert router.table_sizes()["driven"] == 3
    assert queries(ask(router, leaf=OTHER_LEAF, guid=guid_of(9)))
    router.link_closed(LEAF, 1.5)
    router.tick(2.0)
    assert router.table_sizes()["driven"] == 1


def test_a_flood_of_queries_from_a_leaf_is_refused_before_it_is_driven() -> None:
    router = ultrapeer()
    for number in range(200):
        ask(router, guid=guid_of(number))
    assert router.counters.dropped() == {"rate": 190}
    assert router.table_sizes()["driven"] == 10


def test_all_together_are_bounded_and_our_own_push_out_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic, "MAX_RUNNING", 4)
    router = ultrapeer()
    for number in range(4):
        ask(router, guid=guid_of(number))
    ask(router, leaf=OTHER_LEAF, guid=guid_of(9))
    assert router.counters.dropped() == {"too_many_queries": 1}
    assert queries(router.search(Query("hello"), 2.0)[1])
    assert router.table_sizes()["driven"] == 4


# -- probes that are extended ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trace", ["own", "all"])
@pytest.mark.parametrize("again", [0, 1])
@pytest.mark.parametrize("in_one_chunk", [True, False])
def test_a_probe_that_comes_again_with_more_ttl_is_passed_on_once(trace: str, again: int, in_one_chunk: bool) -> None:
    router = ultrapeer(4, settings=RoutingSettings(trace=trace))  # type: ignore[arg-type]
    router.receive(LEAF, table("hello"), 0.5)
    junk = query_bytes("other", guid_of(5)) if in_one_chunk else b""
    assert queries(router.receive(LinkId(0), query_bytes(ttl=1), 1.0))[LEAF] == (1, 2)
    sent = sent_by(router.receive(LinkId(again), query_bytes(ttl=3) + junk, 2.0))
    extended = {link: [(f.ttl, f.hops) for f in frames if f.guid == guid_of(1)] for link, frames in sent.items()}
    assert {link for link, rows in extended.items() if rows} == {LinkId(n) for n in range(4)} - {
        LinkId(0),
        LinkId(again),
    }
    assert all(rows in ([], [(2, 2)]) for rows in extended.values())
    assert queries(router.receive(LinkId(2), query_bytes(ttl=4), 3.0)) == {}
    assert router.counters.drops[DropReason.DUPLICATE] == 1


def test_on_its_last_hop_an_extended_probe_goes_where_tables_match() -> None:
    router = ultrapeer(4)
    router.receive(LinkId(2), table("hello"), 0.5)
    router.receive(LinkId(3), table("world"), 0.5)
    router.receive(LinkId(0), query_bytes(ttl=1), 1.0)
    assert queries(router.receive(LinkId(0), query_bytes(ttl=2), 2.0)) == {LinkId(1): (1, 2), LinkId(2): (1, 2)}


@pytest.mark.parametrize(
    "repeated", [query_bytes(ttl=1), query_bytes(text="x" * 300, ttl=3), query_bytes(text="", ttl=3)]
)
def test_what_is_no_extension_is_a_duplicate(repeated: bytes) -> None:
    router = ultrapeer(4)
    router.receive(LinkId(0), query_bytes(ttl=1), 1.0)
    assert queries(router.receive(LinkId(1), repeated, 2.0)) == {}
    assert router.counters.drops[DropReason.DUPLICATE] == 1


def test_neither_full_queries_nor_those_of_leaves_are_extended() -> None:
    router = ultrapeer(4)
    router.receive(LinkId(0), query_bytes(ttl=2), 1.0)
    assert queries(router.receive(LinkId(1), query_bytes(ttl=4), 2.0)) == {}
    router.receive(LinkId(0), query_bytes(guid=guid_of(2), ttl=1), 3.0)
    assert queries(ask(router, guid=guid_of(2))) == {}
    assert router.counters.drops[DropReason.DUPLICATE] == 2


def test_hits_of_an_extended_probe_go_where_it_first_came_from() -> None:
    router = ultrapeer(4)
    router.receive(LinkId(0), query_bytes(ttl=1), 1.0)
    router.receive(LinkId(1), query_bytes(ttl=3), 2.0)
    assert set(sent_by(router.receive(LinkId(2), hits(guid_of(1), 1), 3.0))) == {LinkId(0)}


# -- what leaves say ---------------------------------------------------------------------------------------------------------


def test_a_leaf_is_asked_what_it_keeps_and_that_counts() -> None:
    router = ultrapeer(40)
    assert LEAF not in told(ask(router))
    router.receive(LinkId(3), hits(guid_of(1), WANTED_LEAF - 1), 2.0)
    asked = router.tick(5.0)
    assert queries(asked) == {}
    assert told(asked) == {LEAF: QueryStatusRequest()}
    assert next(f.guid for f in sent_by(asked)[LEAF] if f.kind == VENDOR) == guid_of(1)
    router.receive(LEAF, signal(QueryStatus(0), guid_of(1)), 5.1)
    router.receive(LinkId(3), hits(guid_of(1), ASK_EVERY), 6.0)
    asked = router.tick(9.0)
    assert told(asked) == {LEAF: QueryStatusRequest()}
    assert queries(router.tick(10.0))  # twenty results of the fifty that are wanted, as far as we know: on it goes
    router.receive(LEAF, signal(QueryStatus(3 * WANTED_LEAF), guid_of(1)), 11.0)
    assert queries(router.tick(20.0)) == {}
    assert router.table_sizes()["driven"] == 0
    assert router.counters.dropped() == {}


def test_leaves_that_have_half_of_what_is_wanted_answer_before_others_are_asked() -> None:
    router = ultrapeer(10)
    for number in range(WANTED_LEAF // 2 + 1):
        having = LinkId(200 + number)
        router.link_opened(having, info(number, is_leaf=True), 0.0)
        router.receive(having, table("hello"), 0.0)
    assert set(queries(ask(router))) == {OTHER_LEAF, *(LinkId(200 + number) for number in range(WANTED_LEAF // 2 + 1))}
    router.receive(LinkId(200), hits(guid_of(1), ASK_EVERY), 1.5)
    asked = router.tick(1.0 + 1.5 * dynamic.PATIENT_S)
    assert told(asked) == {LEAF: QueryStatusRequest()} and not queries(asked)
    # Others found the rest: nobody else needs to be asked.
    router.receive(LEAF, signal(QueryStatus(3 * WANTED_LEAF), guid_of(1)), 4.5)
    assert queries(router.tick(9.0)) == {} and router.table_sizes()["driven"] == 0


def test_a_leaf_that_has_almost_enough_is_asked_before_each_step_and_its_answer_is_acted_on_at_once() -> None:
    router = ultrapeer(40)
    ask(router)
    router.receive(LinkId(3), hits(guid_of(1), ASK_EVERY), 2.0)
    assert told(router.tick(5.0)) == {LEAF: QueryStatusRequest()}
    # Most of it came from others; so little is missing of what one more of our neighbours gives that we go on alone.
    short = signal(QueryStatus(3 * WANTED_LEAF - 20), guid_of(1))
    assert queries(router.receive(LEAF, short, 5.1))
    # Nothing new came since; all the same it is asked again, and has found the rest elsewhere.
    again = router.tick(20.0)
    assert told(again) == {LEAF: QueryStatusRequest()} and not queries(again)
    assert not queries(router.receive(LEAF, signal(QueryStatus(3 * WANTED_LEAF), guid_of(1)), 20.1))
    assert router.table_sizes()["driven"] == 0
    # A status that nobody asked for causes no step.
    ask(router, guid=guid_of(2))
    assert not queries(router.receive(LEAF, signal(QueryStatus(3), guid_of(2)), 31.0))


def test_of_three_ultrapeers_one_goes_on_for_the_last_results_and_none_waits_for_ever() -> None:
    at_once, seeds = 0, 60
    for seed in range(seeds):
        router = ultrapeer(10, seed=seed)
        for number in range(WANTED_LEAF // 2):
            having = LinkId(200 + number)
            router.link_opened(having, info(number, is_leaf=True), 0.0)
            router.receive(having, table("hello"), 0.0)
        ask(router)
        router.receive(LinkId(200), hits(guid_of(1), WANTED_LEAF - 5), 1.5)
        router.tick(5.0)
        lacking, now, waited = signal(QueryStatus(3 * WANTED_LEAF - 1), guid_of(1)), 5.1, 0
        while not any(link < 100 for link in queries(router.receive(LEAF, lacking, now))):
            waited += 1
            now += 2.0
            assert told(router.tick(now)) == {LEAF: QueryStatusRequest()}
            now += 0.1
        assert waited <= dynamic.MAX_YIELDED
        at_once += not waited
    assert seeds / 6 < at_once < seeds / 2


def test_counts_of_limewire_are_divided_already() -> None:
    router = ultrapeer(40, agent="LimeWire/5.5")
    ask(router)
    router.receive(LEAF, signal(QueryStatus(WANTED_LEAF), guid_of(1)), 2.0)
    assert queries(router.tick(5.0)) == {}
    assert router.table_sizes()["driven"] == 0


def test_a_leaf_ends_its_query() -> None:
    router = ultrapeer()
    ask(router)
    router.receive(LEAF, signal(QueryStatus(ENOUGH), guid_of(1)), 2.0)
    assert router.table_sizes()["driven"] == 0
    assert queries(router.tick(5.0)) == {}
    # A status that crosses the end is nobody's fault.
    router.receive(LEAF, signal(QueryStatus(7), guid_of(1)), 6.0)
    assert router.counters.dropped() == {}


def test_a_leaf_that_does_not_answer_is_asked_no_more_and_what_it_was_sent_counts() -> None:
    guided, asked = Guided(is_undivided=True), 0
    for number in range(10):
        asked += guided.is_due(ASK_EVERY * (number + 1), number, (ANSWER_S + 1) * number)
    assert asked == MAX_MISSED
    assert guided.results(200) == 200


@pytest.mark.parametrize(
    ("link", "number", "kept", "reason"),
    [
        (LinkId(0), 1, 5, "status_astray"),
        (OTHER_LEAF, 1, 5, "status_astray"),
        (OTHER_LEAF, 1, ENOUGH, "status_astray"),
        (LEAF, 2, 5, "status_astray"),
        (LEAF, 1, MAX_KEPT + 1, "status_absurd"),
    ],
)
def test_a_status_that_cannot_be_is_refused(link: LinkId, number: int, kept: int, reason: str) -> None:
    router = ultrapeer()
    ask(router)
    assert closes_of(router.receive(link, signal(QueryStatus(kept), guid_of(number)), 2.0)) == {}
    assert router.counters.dropped() == {reason: 1}
    assert queries(router.tick(5.0))


def test_more_than_is_passed_on_need_not_be_asked_for() -> None:
    router = ultrapeer(40, settings=RoutingSettings(max_hits_per_query=30))
    ask(router)
    router.receive(LinkId(3), hits(guid_of(1), 40), 2.0)
    router.receive(LEAF, signal(QueryStatus(0), guid_of(1)), 2.1)
    assert queries(router.tick(5.0)) == {}
    assert router.table_sizes()["driven"] == 0


# -- as a leaf -----------------------------------------------------------------------------------------------------------------


def leaf(agent: str = "PyGnutella/9") -> Router:
    router = make_router(is_leaf=True)
    for number in range(3):
        router.link_opened(LinkId(number), info(number, agent=agent), 0.0)
        router.receive(LinkId(number), signal(MessagesSupported(STATUS)), 0.0)
    return router


def test_a_leaf_asks_all_its_ultrapeers_and_says_that_it_guides() -> None:
    router = leaf()
    guid, actions = router.search(Query("hello"), 1.0)
    assert queries(actions) == {LinkId(number): (4, 0) for number in range(3)}
    frame = next(f for f in sent_by(actions)[LinkId(0)] if f.kind == QUERY)
    assert frame.guid == guid
    assert int.from_bytes(frame.payload[:2], "big") & FLAG_GUIDED
    assert router.table_sizes()["driven"] == 0


@pytest.mark.parametrize(("agent", "told_count"), [("PyGnutella/9", 9), ("gtk-gnutella/1.2", 9), ("LimeWire/5.5", 2)])
def test_it_says_what_it_keeps_when_asked(agent: str, told_count: int) -> None:
    router = leaf(agent)
    guid, _ = router.search(Query("hello"), 1.0)
    router.search_keeps(guid, 9)
    answer = router.receive(LinkId(1), signal(QueryStatusRequest(), guid), 2.0)
    assert told(answer) == {LinkId(1): QueryStatus(told_count)}
    assert [frame.guid for frame in sent_by(answer)[LinkId(1)]] == [guid]


def test_it_tells_of_its_own_accord_when_much_more_is_kept_and_when_it_is_done() -> None:
    router = leaf()
    guid, _ = router.search(Query("hello"), 1.0)
    router.search_keeps(guid, TELL_EVERY - 1)
    assert told(router.tick(2.0)) == {}
    router.search_keeps(guid, TELL_EVERY)
    assert told(router.tick(3.0)) == {LinkId(number): QueryStatus(TELL_EVERY) for number in range(3)}
    assert told(router.tick(4.0)) == {}
    assert told(router.stop_search(guid)) == {LinkId(number): QueryStatus(ENOUGH) for number in range(3)}
    assert router.stop_search(guid) == []
    router.search_keeps(guid, 50)
    assert told(router.tick(5.0)) == {}


def test_a_request_about_no_search_of_ours_is_refused() -> None:
    router = leaf()
    assert told(router.receive(LinkId(1), signal(QueryStatusRequest(), guid_of(3)), 2.0)) == {}
    assert router.counters.dropped() == {"status_astray": 1}


# -- the whole --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_small_network_is_searched_whole_and_at_once(seed: int) -> None:
    # Fifteen ultrapeers with eight links each, and a branch behind one of them: more than FEW_LINKS, no tables.
    rng = random.Random(seed)
    overlay = Overlay(rng, is_dynamic=True)
    nodes = [overlay.add(f"n{number}", ["hello world.txt"] if number else []) for number in range(15)]
    for number, node in enumerate(nodes):
        for other in range(1, 5):
            overlay.connect(node, nodes[(number + other) % 15])
    branch = overlay.add("branch", ["hello branch.txt"])
    overlay.connect(nodes[7], branch)
    overlay.run(3.0)
    guid = overlay.search(nodes[0], "hello")
    overlay.run(3.2)
    assert len({hit.hit.address for hit in nodes[0].hits[guid]}) == 15
