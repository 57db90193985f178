"""The client: nothing is sent under conditions that hide nobody, levels, readings, decoys."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from anonymizer.chk import DATA_BYTES
from anonymizer.client import Client
from anonymizer.client_cache import LIFETIME_S, ClientCache
from anonymizer.decoys import DECOY_MEAN_S
from anonymizer.documents import Document
from anonymizer.errors import MIN_SET, AnonymityError, AnonymitySetTooSmall, ClockSkew, LevelRefused
from anonymizer.inner import Dummy, FetchKeys
from anonymizer.ssk import WriteKey
from anonymizer.uri import ChkUri, SskUri, UskUri
from anonymizer.wire import BlockType, CloseReason
from gnutella.testing.relay_pivot import RelayPivots
from tests.anonymizer.transfers import Result, publish

FILE = random.Random(7).randbytes(3 * DATA_BYTES)
KEY = WriteKey(b"s" * 32, b"r" * 32)


def client_of(net: RelayPivots, cache: ClientCache | None = None, links: int = 3, skew: float | None = None) -> Client:
    cache = ClientCache() if cache is None else cache
    client = Client(
        b"o" * 32,
        net,
        net.known,
        cache,
        net.rng,
        net.timers,
        net.new_key,
        lambda: "guard",
        hold=lambda: 0.2,
        links=lambda: links,
        clock_skew=lambda: skew,
        edge_age=lambda now: 3_600.0,
    )
    net.origin = client
    return client


def nothing(*arguments: object) -> None:
    raise AssertionError


@pytest.mark.parametrize(("pivots", "links"), [(MIN_SET - 1, 3), (MIN_SET, 2), (5, 3), (2, 1), (1, 1), (0, 0)])
def test_too_few_others_refuse_every_request_with_their_number(pivots: int, links: int) -> None:
    """Pitfall 10: peers vanish step by step, and each step is the named refusal."""
    net = RelayPivots(pivots=pivots)
    client, now = client_of(net, links=links), net.now
    uri = ChkUri(bytes(32), bytes(32))
    for request in (
        lambda how: client.get(uri, nothing, nothing, now, **how),
        lambda how: client.put(nothing, nothing, now, **how),
        lambda how: client.admit(str(how.get("level", "relay")), how.get("accept_small_set"), now),
    ):
        for how in ({}, {"accept_small_set": pivots + 1}):
            with pytest.raises(AnonymitySetTooSmall) as refused:
                request(how)
            assert (refused.value.nodes, refused.value.links) == (pivots, links)
        for level in ("strong", "off", ""):
            with pytest.raises(LevelRefused):
                request({"level": level, "accept_small_set": pivots})
    assert net.log == [] and net.posts == []


@pytest.mark.parametrize(
    ("skew", "says"), [(300.0, "5 minutes behind"), (-3_600.0, "60 minutes ahead"), (240.0, ""), (None, "")]
)
def test_a_clock_that_pivots_would_not_believe_is_told_before_anything_is_sent(skew: float | None, says: str) -> None:
    net = RelayPivots(pivots=MIN_SET)
    client = client_of(net, skew=skew)
    if says:
        with pytest.raises(ClockSkew, match=says):
            client.admit("relay", None, net.now)
    else:
        client.admit("relay", None, net.now)


def test_an_accepted_number_lets_a_request_go() -> None:
    net = RelayPivots(pivots=4)
    uri = publish(net, FILE)
    client, result = client_of(net), Result()
    client.get(uri, result.take, result.end, net.now, accept_small_set=4)
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and result.data == FILE


def test_twenty_others_and_three_links_are_enough() -> None:
    net = RelayPivots(pivots=MIN_SET)
    uri = publish(net, FILE)
    client, result = client_of(net), Result()
    getting = client.get(uri, result.take, result.end, net.now, progress=result.progress.append)
    net.run_until(lambda: bool(result.ends))
    reading = client.reading(getting.lanes.picks, net.now)
    assert result.data == FILE
    assert (reading.level, reading.pivots, reading.edge_age_s, reading.nodes) == ("relay", 2, 3_600.0, MIN_SET + 1)
    assert 5 < reading.set_size < MIN_SET and client.reading(2, net.now) == reading


def test_put_takes_a_random_key_and_what_was_put_is_got() -> None:
    net = RelayPivots(pivots=MIN_SET)
    client = client_of(net)
    keys = set()
    for _ in range(2):
        result, rest = Result(), [FILE]

        def read(size: int, back: Callable[[bytes, float], None], rest: list[bytes] = rest) -> None:
            back(rest.pop() if rest else b"", net.now)

        putting = client.put(read, result.end, net.now)
        net.run_until(lambda result=result: bool(result.ends))  # type: ignore[misc]
        assert result.ends == [None] and putting.uri is not None
        keys.add(str(putting.uri))
        got = Result()
        client.get(putting.uri, got.take, got.end, net.now)
        net.run_until(lambda got=got: bool(got.ends))  # type: ignore[misc]
        assert got.data == FILE
    assert len(keys) == 2


def test_documents_by_the_client() -> None:
    net = RelayPivots(pivots=MIN_SET)
    client = client_of(net)
    found: list[Document | AnonymityError] = []

    def done(document: Document | AnonymityError, now: float) -> None:
        found.append(document)

    client.documents.write(KEY, "site", b"text", done, net.now)
    net.run(60.0)
    client.documents.read(SskUri(KEY.read_key, "site"), done, net.now)
    net.run(60.0)
    client.documents.publish(KEY, "blog", b"first", done, net.now)
    net.run(60.0)
    client.documents.read(UskUri(KEY.read_key, "blog", 0), done, net.now)
    net.run(60.0)
    assert [document.data for document in found if isinstance(document, Document)] == [
        b"text",
        b"text",
        b"first",
        b"first",
    ]


def test_what_is_of_no_circuit_of_ours_is_said_to_be_so() -> None:
    net = RelayPivots(pivots=MIN_SET)
    client = client_of(net)
    assert not client.heard(99, b"", net.now) and not client.ended(99, CloseReason.DONE, net.now)
    client.has_room(99, net.now)


def test_many_unanswered_circuits_cast_a_doubt_on_the_guard() -> None:
    net = RelayPivots(pivots=40)
    uri = publish(net, FILE)
    client = client_of(net)
    net.answers_seals = False
    for _ in range(3):
        result = Result()
        client.get(uri, result.take, result.end, net.now)
        assert not client.is_guard_doubtful
        net.run_until(lambda result=result: bool(result.ends))  # type: ignore[misc]
    for _ in range(2):
        client.get(uri, Result().take, Result().end, net.now)
    net.run(600.0)
    assert client.is_guard_doubtful


# -- decoys --------------------------------------------------------------------------------------------------------------


def test_decoys_come_at_exponential_times_and_ask_for_nothing() -> None:
    net = RelayPivots(pivots=MIN_SET)
    client = client_of(net)
    client.start(net.now)
    net.run(200 * DECOY_MEAN_S)
    times = [when for when, what, _ in net.log if what == "open"]
    assert 150 < len(times) < 250 and client.decoys.opened == len(times)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) < DECOY_MEAN_S / 10 and max(gaps) > 2.5 * DECOY_MEAN_S
    assert len(net.all_ends) >= len(times) - 2  # the last ones may be on their way
    assert all(end.told == [Dummy()] for end in net.all_ends)
    lives = [end for end in net.all_ends if end.dummies > 1]  # the others were closed before their clock came to a turn
    assert len(lives) > 0.9 * len(times)
    assert len(set(net.pivots_used)) == MIN_SET
    assert len(net.circuits) <= 3 and set(net.closed) == {CloseReason.DONE}


def test_decoys_are_replaced_when_lost_and_stop_when_told() -> None:
    net = RelayPivots(pivots=MIN_SET)
    client = client_of(net)
    client.decoys.start(net.now)
    net.run_until(lambda: bool(net.circuits))
    net.run(2.0)
    net.kill(1)
    client.decoys.stop()
    net.run(120.0)
    assert len(net.pivots_used) == 2 and not net.circuits and len(net.timers) == 0
    net.has_guard = False
    client.decoys.start(net.now)
    net.run(10 * DECOY_MEAN_S)
    assert len(net.pivots_used) == 2


def test_no_key_is_asked_for_by_a_decoy() -> None:
    net = RelayPivots(pivots=MIN_SET)
    uri = publish(net, FILE)
    client, result = client_of(net), Result()
    client.get(uri, result.take, result.end, net.now)
    net.run_until(lambda: bool(result.ends))
    before = len(net.all_ends)
    client.start(net.now)
    net.run(20 * DECOY_MEAN_S)
    decoys = net.all_ends[before:]
    assert decoys and not any(isinstance(said, FetchKeys) for end in decoys for said in end.told)


def test_the_cache_forgets_by_itself() -> None:
    net, cache = RelayPivots(pivots=MIN_SET), ClientCache()
    client = client_of(net, cache)
    cache.put(BlockType.CHK, bytes(32), b"block", net.now)
    client.start(net.now)
    net.run(LIFETIME_S + 120.0)
    assert len(cache) == 0
