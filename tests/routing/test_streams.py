"""Streams of messages, polite and hostile: nothing raises, everything is counted, and how a stream is cut changes nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol.kinds import QUERY
from gnutella.protocol.message import Query
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action
from gnutella.routing.router import MAX_MESSAGE, LinkInfo, Router
from gnutella.settings import RoutingSettings
from gnutella.testing.routers import OWN_ADDRESS, closes_of, events_of, guid_of, make_router, sent_by
from gnutella.testing.strategies_routing import any_message, cut, cut_places, polite
from gnutella.units import LinkId

A, B, LEAF, C = (LinkId(number) for number in range(4))
CORPUS = Path(__file__).parent.parent / "corpus" / "routing"
#: What the router reports besides messages: compared as text.
Outcome = tuple[
    dict[LinkId, Counter[bytes]], Counter[str], dict[LinkId, DropReason], dict[str, int], dict[int, tuple[int, int]]
]


def node(trace: str = "own") -> Router:
    """Two plain links, a leaf, one more plain link; a search of ours under way; two files."""
    settings = RoutingSettings(trace=trace)  # type: ignore[arg-type]
    router = make_router(["hello world.txt", "hello.ogg"], settings=settings)
    for link in (A, B, LEAF, C):
        router.link_opened(link, LinkInfo(f"10.1.1.{link}", OWN_ADDRESS.host, is_leaf=link == LEAF), 0.0)
    router.search(Query("hello"), 0.5, guid=guid_of(2))
    return router


def outcome(router: Router, actions: list[Action]) -> Outcome:
    sent = {link: Counter(frame.message for frame in got) for link, got in sent_by(actions).items()}
    events = Counter(repr(event) for event in events_of(actions))
    counted = {kind: (row.rx, row.tx) for kind, row in router.counters.messages.items()}
    return sent, events, closes_of(actions), router.counters.dropped(), counted


Streams = st.lists(st.tuples(st.sampled_from((A, B, LEAF, C)), st.lists(any_message(), max_size=8)), max_size=6)


@given(Streams, cut_places())
def test_the_pieces_that_a_stream_comes_in_change_nothing(
    streams: list[tuple[LinkId, list[bytes]]], at: list[int]
) -> None:
    whole, pieces = node(), node()
    one: list[Action] = []
    many: list[Action] = []
    for link, sent in streams:
        stream = b"".join(sent)
        one += whole.receive(link, stream, 1.0)
        for piece in cut(stream, at):
            many += pieces.receive(link, piece, 1.0)
    assert outcome(whole, one) == outcome(pieces, many)
    for link in whole.links():
        assert whole.link_counters(link) == pieces.link_counters(link)


@given(st.lists(any_message(), max_size=6))
def test_one_byte_at_a_time_is_the_same_as_all_at_once(sent: list[bytes]) -> None:
    stream = b"".join(sent)
    whole, bytewise = node(), node()
    actions = [action for at in range(len(stream)) for action in bytewise.receive(A, stream[at : at + 1], 1.0)]
    assert outcome(whole, whole.receive(A, stream, 1.0)) == outcome(bytewise, actions)


@given(Streams)
def test_the_fast_path_does_what_the_slow_one_does(streams: list[tuple[LinkId, list[bytes]]]) -> None:
    fast, slow = node("own"), node("all")
    for link, sent in streams:
        stream = b"".join(sent)
        assert outcome(fast, fast.receive(link, stream, 1.0)) == outcome(slow, slow.receive(link, stream, 1.0))


@given(Streams)
def test_every_message_is_handled_or_counted_as_dropped(streams: list[tuple[LinkId, list[bytes]]]) -> None:
    router = node()
    for link, sent in streams:
        before = router.counters.rx_messages
        open_before = link in router.links()
        actions = router.receive(link, b"".join(sent), 1.0)
        received = router.counters.rx_messages - before
        assert received == len(sent) or not open_before or closes_of(actions)
        assert link not in sent_by(actions) or all(frame.kind != QUERY for frame in sent_by(actions)[link])


@given(st.lists(polite(), min_size=1, max_size=8))
def test_no_query_goes_back_or_grows(sent: list[bytes]) -> None:
    router = node()
    got = sent_by(router.receive(A, b"".join(sent), 1.0))
    reaches: dict[bytes, int] = {}
    for message in sent:
        if message[16] == QUERY:
            reaches[message[:16]] = max(reaches.get(message[:16], 0), message[17] + message[18])
    for link, frames in got.items():
        for frame in frames:
            if frame.kind == QUERY:
                assert link != A
                last_hop = link == LEAF and frame.ttl == 1
                assert frame.ttl + frame.hops <= reaches[frame.guid] + last_hop
                assert frame.hops >= 1


@given(st.lists(st.tuples(st.sampled_from((A, LEAF)), st.binary(max_size=300)), max_size=12))
def test_arbitrary_bytes_never_raise_and_leave_no_more_than_one_message_behind(
    chunks: list[tuple[LinkId, bytes]],
) -> None:
    router = node()
    for number, (link, data) in enumerate(chunks):
        router.receive(link, data, 1.0 + number)
        router.tick(1.5 + number)
        for kept in router._board.links.values():
            assert len(kept.tail) <= MAX_MESSAGE
            assert len(kept.tail) + kept.lacks <= MAX_MESSAGE
    counters = router.counters
    assert counters.rx_messages <= sum(len(data) for _, data in chunks) // 23


@pytest.mark.parametrize("seed", sorted(CORPUS.glob("*.hex")), ids=lambda path: path.stem)
def test_streams_that_were_once_trouble(seed: Path) -> None:
    lines = [line for line in seed.read_text().splitlines() if line and not line.startswith("#")]
    data = bytes.fromhex("".join(lines))
    assert data
    whole, bytewise = node(), node()
    actions = [action for at in range(len(data)) for action in bytewise.receive(A, data[at : at + 1], 1.0)]
    assert outcome(whole, whole.receive(A, data, 1.0)) == outcome(bytewise, actions)
    assert whole.counters.dropped()


def test_a_flood_of_garbage_is_cut_off_early() -> None:
    router = node()
    garbage = bytes(range(256)) * 4096
    actions = router.receive(A, garbage, 1.0)
    assert closes_of(actions) == {A: DropReason.MESSAGE_TOO_LARGE}
    zeros = router.receive(B, bytes(1 << 20), 1.0)
    assert closes_of(zeros) == {B: DropReason.TOO_MANY_TTL}
    assert router.links() == [LEAF, C]
