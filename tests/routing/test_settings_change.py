"""Settings that change while links are open."""

from __future__ import annotations

from gnutella.protocol.kinds import QUERY_HIT
from gnutella.routing.router import Router
from gnutella.settings import RoutingSettings
from gnutella.testing.routers import guid_of, make_router, open_links, query_bytes, sent_by
from gnutella.units import LinkId
from tests.routing.test_hits import hit_bytes
from tests.routing.test_pings import ping_bytes

A, B = LinkId(0), LinkId(1)


def linked() -> Router:
    router = make_router()
    open_links(router, 2)
    return router


def test_tracing_all_queries_starts_and_ends_with_the_setting() -> None:
    router = linked()
    for number, (trace, is_traced) in enumerate((("all", True), ("own", False), ("all", True), ("off", False))):
        router.use_settings(RoutingSettings(trace=trace))  # type: ignore[arg-type]
        router.receive(A, query_bytes(guid=guid_of(number)), 1.0)
        assert bool(router.trace(guid_of(number))) == is_traced


def test_queries_are_trimmed_to_the_new_reach() -> None:
    router = linked()
    router.use_settings(RoutingSettings(max_ttl=3))
    (frame,) = sent_by(router.receive(A, query_bytes(ttl=6, hops=1), 1.0))[B]
    assert (frame.ttl, frame.hops) == (1, 2)


def test_the_new_quota_counts_what_was_relayed_before() -> None:
    router = linked()
    router.receive(A, query_bytes(), 1.0)
    router.receive(B, hit_bytes(records=10), 1.0)
    router.use_settings(RoutingSettings(max_hits_per_query=5))
    assert router.receive(B, hit_bytes(servent_id=guid_of(9)), 1.0) == []
    assert router.counters.messages[QUERY_HIT].tx == 1


def test_pings_go_at_the_new_interval() -> None:
    router = linked()
    router.use_settings(RoutingSettings(ping_interval_s=5.0))
    router.tick(40.0)
    for link in (A, B):
        router.receive(link, ping_bytes(ttl=1), 44.0)
    assert set(sent_by(router.tick(46.0))) == {A, B}
