"""The life of a query in this node, as a person reads it."""

from __future__ import annotations

from gnutella.protocol.message import Query
from gnutella.routing.router import LinkInfo, Router
from gnutella.routing.trace import MAX_STEPS, MAX_TRACED, Trace, readable_text
from gnutella.settings import RoutingSettings
from gnutella.testing.routers import OWN_ADDRESS, guid_of, make_router, open_links, query_bytes
from gnutella.units import Guid, LinkId
from tests.routing.test_hits import hit_bytes

A, B, C = LinkId(0), LinkId(1), LinkId(2)


def told(router: Router, guid: Guid) -> list[tuple[str, LinkId | None, str]]:
    return [(step.step, step.link, step.reason) for step in router.trace(guid)]


def test_an_own_search_tells_where_it_went_and_what_came() -> None:
    router = make_router()
    open_links(router, 2)
    guid, _ = router.search(Query("hello"), 1.0)
    router.receive(B, query_bytes(guid=guid), 1.5)
    router.receive(B, hit_bytes(guid), 2.0)
    router.receive(B, hit_bytes(guid, name="a/b"), 2.5)
    asked, *forwarded, dropped, arrived, bad = told(router, guid)
    assert sorted(forwarded) == [("forwarded to", A, ""), ("forwarded to", B, "")]
    assert [asked, dropped, arrived, bad] == [
        ("asked", None, ""),
        ("dropped from", B, "own_message"),
        ("hit arrived from", B, ""),
        ("hit dropped from", B, "bogus_hit"),
    ]
    assert [step.time for step in router.trace(guid)] == [1.0, 1.0, 1.0, 1.5, 2.0, 2.5]
    (summary,) = router.trace_summary()
    assert (summary.guid, summary.text, summary.is_own, summary.started_at) == (guid, "hello", True, 1.0)


def test_the_queries_of_others_are_traced_only_when_all_are() -> None:
    router = make_router()
    open_links(router, 2)
    router.receive(A, query_bytes(), 1.0)
    assert router.trace(guid_of(1)) == []
    assert router.trace_summary() == []


def traces_all(*names: str) -> Router:
    router = make_router(names, settings=RoutingSettings(trace="all"))
    open_links(router, 3)
    return router


def test_all_queries_traced_tell_the_whole_path() -> None:
    router = traces_all("hello.txt", "hello too.txt")
    router.receive(A, query_bytes(), 1.0)
    router.receive(B, query_bytes(), 1.1)
    router.receive(C, hit_bytes(), 1.2)
    assert told(router, guid_of(1)) == [
        ("received from", A, ""),
        ("answered 2 hits", A, ""),
        ("forwarded to", B, ""),
        ("forwarded to", C, ""),
        ("dropped from", B, "duplicate"),
        ("hit back to", A, ""),
    ]


def test_a_spent_query_tells_that_it_stopped_here_and_which_leaves_got_it() -> None:
    router = traces_all()
    router.link_opened(LinkId(7), LinkInfo("10.1.1.8", OWN_ADDRESS.host, is_leaf=True), 0.0)
    router.receive(A, query_bytes(ttl=1), 1.0)
    assert told(router, guid_of(1)) == [
        ("received from", A, ""),
        ("ttl spent", None, "ttl_spent"),
        ("forwarded to", LinkId(7), ""),
    ]


def test_a_query_lost_at_a_full_link_tells_so() -> None:
    router = traces_all()
    router.blocked(B, 1.0)
    lost = set()
    for number in range(600):
        router.receive(A, query_bytes("x" * 200, guid_of(number)), 1.0)
        lost |= {number for step in told(router, guid_of(number)) if step == ("dropped to", B, "link_busy")}
    assert lost


def test_nothing_is_traced_when_it_is_off() -> None:
    router = make_router(settings=RoutingSettings(trace="off"))
    open_links(router, 1)
    guid, _ = router.search(Query("hello"), 1.0)
    assert router.trace(guid) == []


def test_the_oldest_query_makes_room_for_a_new_one() -> None:
    router = traces_all()
    for number in range(MAX_TRACED + 5):
        router.receive(A, query_bytes(guid=guid_of(number)), 1.0)
    assert router.table_sizes()["traced"] == MAX_TRACED
    assert router.trace(guid_of(4)) == []
    assert router.trace(guid_of(5)) != []
    assert router.trace_summary()[0].guid == guid_of(MAX_TRACED + 4), "the newest first"


def test_a_query_keeps_a_limited_number_of_steps() -> None:
    trace = Trace()
    trace.start(guid_of(1), "hello", 0.0, is_own=True)
    for number in range(MAX_STEPS + 7):
        trace.step(guid_of(1), float(number), "forwarded to", LinkId(number))
    steps = trace.steps(guid_of(1))
    assert len(steps) == MAX_STEPS + 1
    assert steps[-1].step == "7 more steps were not kept"


def test_the_text_shown_has_nothing_that_a_terminal_obeys() -> None:
    assert readable_text(b"\x80\0he\x1b[2Jllo\r\nworld\0urn:sha1:") == "he?[2Jllo??world"
    assert len(readable_text(b"\x80\0" + b"\xff" * 5000)) <= 80


def test_a_query_for_a_hash_is_told_by_its_urn() -> None:
    urn = "urn:sha1:PLSTHIPQGSSZTS5FJUPAKUZWUGYQYPFB"
    router = make_router()
    open_links(router, 1)
    router.search(Query("\\", urns=(urn,)), 1.0)
    assert router.trace_summary()[0].text == urn
    assert readable_text(b"\x80\0\\\0\xc3\x01a\x1c" + urn.encode() + b"\0") == urn
    assert readable_text(b"\x80\0\\\0\xc3\x01a") == "\\"
    assert readable_text(b"\x80\0") == ""
