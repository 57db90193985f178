"""A chunk that is one query: the short way through the relay does what the long one does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnutella.protocol.kinds import PING, QUERY, encode_header
from gnutella.routing.actions import Action
from gnutella.routing.link import Link
from gnutella.routing.relay import Relay
from gnutella.testing.routers import guid_of, make_router, open_links, query_bytes
from gnutella.units import LinkId

queries = st.builds(
    lambda number, text, ttl, hops: query_bytes(text, guid_of(number), ttl=ttl, hops=hops),
    st.integers(0, 5),
    st.sampled_from(("", "one", "two words", "x" * 300)),
    st.integers(0, 8),
    st.integers(0, 8),
)
others = st.binary(max_size=30) | st.just(encode_header(guid_of(9), PING, 1, 0, 0))
unmarked = queries.map(lambda query: query[:23] + b"\0" + query[24:])
cut = st.tuples(queries, st.integers(1, 25)).map(lambda pair: pair[0][: -pair[1]])


@given(st.lists(st.tuples(st.integers(0, 3), queries | others | unmarked | cut), max_size=20))
@settings(max_examples=60)
def test_the_short_way_does_what_the_long_way_does(chunks: list[tuple[int, bytes]]) -> None:
    told = []
    for has_short_way in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not has_short_way:
                patch.setattr(Relay, "lone", lambda *_: None)
            router = make_router()
            open_links(router, 4)
            actions = [router.receive(LinkId(link), chunk, 1.0) for link, chunk in chunks]
            links = [router.link_counters(LinkId(link)) for link in range(4)]
            counters = router.counters
            counts = counters.dropped(), counters.messages, counters.rx_bytes, counters.tx_bytes
            told.append((actions, links, counts, counters.queries_relayed, router.table_sizes()))
    assert told[0] == told[1]


def test_one_query_alone_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    lone = Relay.lone
    took: list[bool] = []

    def noted(relay: Relay, link: Link, data: bytes, now: float) -> list[Action] | None:
        actions = lone(relay, link, data, now)
        took.append(actions is not None)
        return actions

    monkeypatch.setattr(Relay, "lone", noted)
    router = make_router()
    open_links(router, 3)
    router.receive(LinkId(0), query_bytes(), 1.0)
    router.receive(LinkId(0), query_bytes("two", guid_of(2)) + query_bytes("three", guid_of(3)), 1.0)
    assert took == [True, False] and router.counters.messages[QUERY].rx == 3
