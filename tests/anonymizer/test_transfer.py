"""Whole files over own circuits: fast enough, through losses, lies and dead circuits, and by one guard."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from anonymizer.chk import DATA_BYTES
from anonymizer.client_cache import ClientCache
from anonymizer.errors import (
    DataNotFound,
    IntegrityFailure,
    NoAnonymousRoute,
    PivotTimeout,
    ProviderGone,
    QuotaExceeded,
)
from anonymizer.files import Splitter
from anonymizer.inner import Attach, FailReason, FetchKeys, StoreBlock
from anonymizer.lanes import MIN_WINDOW, STORE_WINDOW, WINDOW
from anonymizer.manifest import NODE_SEGMENTS, Manifest, seal_root
from anonymizer.transfer import LANES, MANY_BYTES, MANY_LANES
from anonymizer.uri import ChkUri
from anonymizer.wire import BlockType, CloseReason
from gnutella.testing.relay_pivot import FarEnd, RelayPivots
from tests.anonymizer.transfers import channels_of, get, publish, put

FILE = random.Random(7).randbytes(5 * DATA_BYTES + 1_234)
LARGE = random.Random(8).randbytes(MANY_BYTES + 3 * DATA_BYTES)


def test_a_file_comes_whole_and_in_order() -> None:
    net = RelayPivots()
    uri = publish(net, FILE)
    getting, result = get(net, uri)
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and result.data == FILE
    assert getting.manifest is not None and getting.manifest.mime == "text/plain"
    assert [step.done for step in result.progress] == sorted({step.done for step in result.progress})
    assert result.progress[-1].size == result.progress[-1].done == len(FILE)
    net.settle()
    assert not net.circuits and set(net.closed) == {CloseReason.DONE} and len(net.timers) == 0


def test_an_empty_file_is_one_block() -> None:
    net = RelayPivots()
    uri = publish(net, b"")
    _, result = get(net, uri)
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and result.data == b""


def test_goodput_with_a_second_from_a_request_to_its_block() -> None:
    """10 hops of 25 ms each way and a virtual stem of 0.5 s: near 8 MB/s, and what comes before."""
    data = random.Random(9).randbytes(40 << 20)
    before = during = 0.0
    for seed in (1, 2):
        net = RelayPivots(seed, hold_s=0.12)
        uri = publish(net, data, redundant=False)
        _, result = get(net, uri)
        before += net.run_until(lambda: bool(result.data))  # noqa: B023 - called at once
        during += net.run_until(lambda: bool(result.ends))  # noqa: B023
        assert result.ends == [None] and result.data == data
        most = [max(_outstanding(end), default=0) for end in _ends(net)]
        assert len(most) == MANY_LANES and all(count <= WINDOW for count in most)
    assert 2 * len(data) / during > 6.5e6 and 2 * len(data) / (before + during) > 4e6


def _ends(net: RelayPivots) -> list[FarEnd]:
    return net.all_ends


def _outstanding(end: FarEnd) -> list[int]:
    return [count for _, count in end.outstanding]


def test_small_files_take_two_circuits_and_large_ones_four_all_at_one_guard() -> None:
    """Pitfall 11: no circuit per block, and a constant number of outstanding ones."""
    larger = 5 * LARGE
    for data, lanes in ((FILE, LANES), (larger, MANY_LANES)):
        net = RelayPivots(hold_s=2.0)  # slow enough for a turn at which a large file gets more
        uri = publish(net, data, redundant=False)
        _, result = get(net, uri)
        net.run_until(lambda result=result: bool(result.ends))  # type: ignore[misc]
        assert result.data == data
        assert len(net.pivots_used) == len(set(net.pivots_used)) == lanes
        shares = [sum(len(said.keys) for said in end.told if isinstance(said, FetchKeys)) for end in net.all_ends]
        assert sum(shares) >= -(-len(data) // DATA_BYTES) + 1
        if data is larger:
            assert min(shares) > 10, "all of them work"


def test_a_put_has_no_more_outstanding_on_a_lane_than_one_relay_holds() -> None:
    net, most = RelayPivots(hold_s=2.0), 0
    putting, result = put(net, 2 * LARGE)

    def watched() -> bool:
        nonlocal most
        most = max(most, *(len(lane.out) for lane in putting.lanes._lanes), 0)
        return bool(result.ends)

    net.run_until(watched)
    assert result.ends == [None]
    assert most == STORE_WINDOW < WINDOW


def test_the_root_is_asked_for_alone() -> None:
    """For the pivot then looks in its second place as well."""
    net = RelayPivots()
    uri = publish(net, FILE)
    _, result = get(net, uri)
    net.run_until(lambda: bool(result.ends))
    asked = [said.keys for end in net.all_ends for said in end.told if isinstance(said, FetchKeys)]
    assert (bytes((BlockType.CHK,)) + uri.routing,) in asked


@pytest.mark.parametrize("seed", range(4))
def test_dead_circuits_are_replaced_and_the_file_is_whole(seed: int) -> None:
    net, chance = RelayPivots(seed, pivots=20), random.Random(seed)
    uri = publish(net, LARGE, redundant=False)
    _, result = get(net, uri)
    for _ in range(3):
        net.run(chance.uniform(0.3, 1.5))
        if net.circuits:
            net.kill(chance.choice(list(net.circuits)))
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and result.data == LARGE
    assert result.progress[-1].lost_circuits > 0 or len(net.pivots_used) == MANY_LANES


def test_when_every_circuit_dies_the_end_is_named_and_the_rest_can_be_fetched_later() -> None:
    net, larger = RelayPivots(pivots=30), 3 * LARGE
    uri = publish(net, larger, redundant=False)
    _, result = get(net, uri)
    net.run_until(lambda: bool(result.data))
    while not result.ends:
        for number in list(net.circuits):
            net.kill(number)
        net.run(1.0)
    assert isinstance(result.ends[0], PivotTimeout) and len(net.pivots_used) <= MANY_LANES + 3
    kept = bytes(result.data)
    assert 0 < len(kept) < len(larger)
    asked_before = _asked(net)

    def held(number: int) -> bytes | None:
        return kept[number * DATA_BYTES : (number + 1) * DATA_BYTES] or None

    again, second = get(net, uri, held=held)
    net.run_until(lambda: bool(second.ends))
    assert second.ends == [None] and second.data == larger
    assert again.reused == len(kept) // DATA_BYTES
    manifests = 1
    assert _asked(net) - asked_before <= -(-(len(larger) - len(kept)) // DATA_BYTES) + manifests


def _asked(net: RelayPivots) -> int:
    return sum(len(said.keys) for end in net.all_ends for said in end.told if isinstance(said, FetchKeys))


def test_what_is_on_disk_and_does_not_match_is_fetched() -> None:
    net = RelayPivots()
    uri = publish(net, FILE)
    getting, result = get(net, uri, held=lambda number: FILE[:DATA_BYTES] if number < 2 else b"x" * 40_000)
    net.run_until(lambda: bool(result.ends))
    assert result.data == FILE and getting.reused == 1


def test_lost_blocks_are_made_from_check_blocks_and_inserted_anew_afterwards() -> None:
    net = RelayPivots()
    uri = publish(net, FILE)
    root = net.blocks[uri.routing]
    lost = [routing for routing in list(net.blocks) if routing != uri.routing][:4]
    kept = {routing: net.blocks.pop(routing) for routing in lost}
    getting, result = get(net, uri)
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and result.data == FILE and net.blocks[uri.routing] == root
    assert not net.stored and getting.is_healing
    net.run_until(lambda: not getting.is_healing)
    assert {routing: net.blocks[routing] for routing in lost} == kept and getting.healed == 4
    stored = [when for when, what, _ in net.log if what == "large"]
    # One by one, as the clock of the circuit says: sixteen a second at most on the average.
    assert all(later > earlier for earlier, later in pairwise(stored)) and stored[-1] - stored[0] > 0.1
    net.settle()
    assert not net.circuits and len(net.timers) == 0


def test_inserting_anew_ends_with_the_last_circuit() -> None:
    net = RelayPivots(pivots=2)
    uri = publish(net, FILE)
    for routing in [routing for routing in net.blocks if routing != uri.routing][:4]:
        del net.blocks[routing]
    getting, result = get(net, uri)
    net.run_until(lambda: bool(result.ends))
    for number in list(net.circuits):
        net.kill(number)
    net.has_guard = False
    net.run_until(lambda: not getting.is_healing)
    net.run(3_600.0)
    net.settle()
    assert result.ends == [None] and getting.healed < 4 and len(net.timers) == 0


def test_a_block_that_one_pivot_does_not_find_is_asked_of_another() -> None:
    net = RelayPivots()
    uri = publish(net, FILE, redundant=False)
    blind: list[bytes] = []

    def fate(end: FarEnd, routing: bytes) -> FailReason | None:
        if not blind:
            blind.append(end.pivot_id)
        return FailReason.NO_ROUTE if end.pivot_id == blind[0] else None

    net.fate = fate
    _, result = get(net, uri)
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and result.data == FILE


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (FailReason.NOT_FOUND, DataNotFound),
        (FailReason.NO_ROUTE, DataNotFound),
        (FailReason.REFUSED, DataNotFound),
        (FailReason.PROVIDER_GONE, ProviderGone),
        (FailReason.OVERLOAD, QuotaExceeded),
    ],
)
def test_what_cannot_be_had_ends_by_its_name(reason: FailReason, error: type[Exception]) -> None:
    net = RelayPivots()
    uri = publish(net, FILE)
    net.fate = lambda end, routing: reason
    _, result = get(net, uri)
    net.run_until(lambda: bool(result.ends))
    assert [type(end) for end in result.ends] == [error] and result.data == b""
    net.settle()
    assert not net.circuits and len(net.timers) == 0


def test_pivots_that_say_nothing_are_left_and_the_end_is_named() -> None:
    net = RelayPivots(pivots=20)
    uri = publish(net, FILE)
    net.silent = {descriptor.node_id for descriptor in net.known}
    _, result = get(net, uri)
    net.run_until(lambda: bool(result.ends))
    net.settle()
    assert isinstance(result.ends[0], PivotTimeout) and not net.circuits


def test_one_silent_pivot_costs_time_only() -> None:
    net = RelayPivots(pivots=20)
    uri = publish(net, FILE, redundant=False)
    _, result = get(net, uri)
    net.run(0.01)
    net.silent = {net.pivots_used[0]}
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and result.data == FILE


def test_wrong_blocks_are_never_shown_and_who_sends_them_is_left() -> None:
    """Pitfall 14: what is not the block that was asked for reaches nobody; the circuit ends as any other."""
    net = RelayPivots(5, pivots=20)
    uri = publish(net, FILE)
    net.run(0.0)
    liars: set[bytes] = set()

    def lies(pivot_id: bytes, block: bytes) -> bytes:
        if len(liars) < 2:
            liars.add(pivot_id)
        return block[:99] + bytes((block[99] ^ 1,)) + block[100:] if pivot_id in liars else block

    net.lies = lies
    getting, result = get(net, uri)
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and result.data == FILE
    assert getting.lanes.counts["wrong blocks"] >= len(liars) > 0
    net.settle()
    assert set(net.closed) == {CloseReason.DONE}
    assert not getting.healed


def test_pivots_that_all_lie_show_nothing() -> None:
    net = RelayPivots(pivots=20)
    uri = publish(net, FILE)
    net.lies = lambda pivot_id, block: bytes(len(block))
    _, result = get(net, uri)
    net.run_until(lambda: bool(result.ends))
    assert isinstance(result.ends[0], PivotTimeout) and result.data == b""


def test_a_publisher_who_lies_about_the_whole_is_named() -> None:
    net = RelayPivots()
    uri = publish(net, FILE)
    manifest = Manifest(len(FILE), "text/plain", bytes(32), bytes(32), ())
    getting, result = get(net, uri)
    net.run_until(lambda: bool(result.ends))
    assert getting.manifest is not None
    wrong = Manifest(manifest.size, manifest.mime, manifest.sha256, manifest.key, getting.manifest.segments)
    root, key = seal_root(wrong)
    net.blocks[root.routing] = (root.sealed,)
    _, second = get(net, ChkUri(root.routing, key))
    net.run_until(lambda: bool(second.ends))
    assert isinstance(second.ends[0], IntegrityFailure)


def test_a_pivot_without_room_is_asked_for_less_and_later() -> None:
    net = RelayPivots()
    uri = publish(net, LARGE, redundant=False)
    refused = 0

    def fate(end: FarEnd, routing: bytes) -> FailReason | None:
        nonlocal refused
        if refused < 60 and routing != uri.routing and net.rng.random() < 0.5:
            refused += 1
            return FailReason.OVERLOAD
        return None

    net.fate = fate
    getting, result = get(net, uri)
    seen: set[int] = set()

    def is_over() -> bool:
        seen.update(lane.window for lane in getting.lanes._lanes)
        return bool(result.ends)

    net.run_until(is_over)
    assert MIN_WINDOW <= min(seen) <= WINDOW // 2 and refused == 60
    assert result.ends == [None] and result.data == LARGE


def test_what_was_read_before_is_read_without_a_circuit() -> None:
    net, cache = RelayPivots(), ClientCache()
    uri = publish(net, FILE)
    _, result = get(net, uri, cache)
    net.run_until(lambda: bool(result.ends))
    before = len(net.log)
    getting, again = get(net, uri, cache)
    net.run(0.0)
    assert again.ends == [None] and again.data == FILE and len(net.log) == before and getting.reused > 0


def test_cancel_ends_the_circuits_and_nothing_comes_afterwards() -> None:
    net = RelayPivots()
    uri = publish(net, LARGE, redundant=False)
    getting, result = get(net, uri)
    net.run_until(lambda: bool(result.data))
    so_far = len(result.data)
    getting.cancel(net.now)
    net.run(600.0)
    net.settle()
    assert len(result.data) == so_far and not result.ends and not net.circuits and len(net.timers) == 0


def test_a_pause_holds_only_what_was_asked_for() -> None:
    net = RelayPivots(pivots=20)
    data = random.Random(3).randbytes(20 << 20)
    uri = publish(net, data, redundant=False)
    getting, result = get(net, uri)
    net.run_until(lambda: bool(result.data))
    getting.pause()
    net.run(30.0)
    so_far = len(result.data)
    assert so_far < len(data)
    net.run(10.0)
    assert len(result.data) == so_far
    getting.resume(net.now)
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and result.data == data


def test_without_a_guard_or_pivots_the_end_is_named_and_nothing_is_sent() -> None:
    """Pitfall 10: by steps down to nobody, always the same name and never another way."""
    for pivots, has_guard in ((12, False), (0, True), (0, False)):
        net = RelayPivots(pivots=pivots)
        net.has_guard = has_guard
        uri = publish(net, FILE)
        _, result = get(net, uri)
        assert isinstance(result.ends[0], NoAnonymousRoute) and net.log == []
        _, putting = put(net, FILE)
        net.run_until(lambda putting=putting: bool(putting.ends))  # type: ignore[misc]
        assert isinstance(putting.ends[0], NoAnonymousRoute) and net.log == []
    for pivots in (1, 2, 3):
        net = RelayPivots(pivots=pivots, hold_s=2.0)
        uri = publish(net, LARGE, redundant=False)
        _, result = get(net, uri)
        net.run_until(lambda result=result: bool(result.ends))  # type: ignore[misc]
        assert result.data == LARGE and len(net.pivots_used) == pivots


@pytest.mark.parametrize("seed", range(5))
def test_a_long_wait_for_the_guard_costs_no_block(seed: int) -> None:
    net = RelayPivots(seed)
    net.has_guard = False
    net.origin = channels_of(net, is_patient=True)
    _, result = get(net, publish(net, FILE))
    net.run(1_500.0)
    assert not result.ends and net.log == []
    net.has_guard = True
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and result.data == FILE and result.progress[-1].lost_blocks == 0


def test_each_pivot_is_told_the_anchors_before_anything_is_asked_for() -> None:
    net = RelayPivots()
    uri = publish(net, FILE)
    anchors = [Attach(bytes((number,)) * 32, bytes(16)) for number in (1, 2)]
    _, result = get(net, uri, anchors=anchors)
    net.run_until(lambda: bool(result.ends))
    assert result.data == FILE
    assert [end.told[:2] for end in net.all_ends] == [anchors, anchors]


# -- put -----------------------------------------------------------------------------------------------------------------


def test_what_was_put_can_be_got() -> None:
    net = RelayPivots()
    putting, result = put(net, LARGE)
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and putting.uri is not None
    assert result.progress[-1].done == result.progress[-1].size == putting.made
    net.settle()
    assert not net.circuits and len(net.timers) == 0
    _, got = get(net, putting.uri)
    net.run_until(lambda: bool(got.ends))
    assert got.ends == [None] and got.data == LARGE


@pytest.mark.parametrize("size", [0, 1, DATA_BYTES, 16 * DATA_BYTES, 16 * DATA_BYTES + 1])
def test_sizes_at_the_edges_can_be_put(size: int) -> None:
    net = RelayPivots()
    data = random.Random(size).randbytes(size)
    putting, result = put(net, data, size=size)
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and putting.uri is not None
    assert len(net.pivots_used) == LANES
    _, got = get(net, putting.uri)
    net.run_until(lambda: bool(got.ends))
    assert got.data == data


def test_blocks_are_stored_in_random_order_and_the_manifest_last_and_twice() -> None:
    net = RelayPivots()
    large = random.Random(4).randbytes((NODE_SEGMENTS + 1) * 16 * DATA_BYTES)
    putting, result = put(net, large)
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and putting.uri is not None
    root = net.blocks[putting.uri.routing][0]
    assert [block.block for block in net.stored[-2:]] == [root, root]
    assert {block.second for block in net.stored[-2:]} == {False, True}
    twice = [block for block in net.stored if block.second]
    assert 2 < len(twice) <= 6, "nodes of the manifest and their checks, and the root"
    made = [block.sealed for block in Splitter(b"k" * 32).feed(large)]
    places = [made.index(block.block) for block in net.stored if not block.second and block.block in made]
    rises = sum(later > earlier for earlier, later in pairwise(places))
    assert len(places) == len(made) and 0.3 < rises / len(places) < 0.7
    told = [said for end in net.all_ends for said in end.told if isinstance(said, StoreBlock)]
    assert len(told) == putting.made == putting.stored


def test_stores_that_fail_are_tried_elsewhere_and_dead_circuits_replaced() -> None:
    net = RelayPivots(pivots=20)
    net.copies = lambda end, block: 0 if net.rng.random() < 0.2 else 3
    putting, result = put(net, FILE)
    net.run(1.0)
    net.kill(1)
    net.run_until(lambda: bool(result.ends))
    assert result.ends == [None] and putting.uri is not None
    _, got = get(net, putting.uri)
    net.run_until(lambda: bool(got.ends))
    assert got.data == FILE


def test_a_file_that_nobody_stores_ends_by_name_and_has_no_key() -> None:
    net = RelayPivots()
    net.copies = lambda end, block: 0
    putting, result = put(net, FILE)
    net.run_until(lambda: bool(result.ends))
    net.settle()
    assert isinstance(result.ends[0], NoAnonymousRoute) and putting.uri is None and not net.circuits


def test_a_put_that_is_cancelled_is_silent() -> None:
    net = RelayPivots()
    putting, result = put(net, LARGE)
    net.run(1.5)
    putting.cancel(net.now)
    net.run(600.0)
    net.settle()
    assert not result.ends and putting.uri is None and not net.circuits and len(net.timers) == 0


def test_two_transfers_share_nothing_but_the_guard() -> None:
    net = RelayPivots(pivots=20)
    channels_of(net)
    uris = [publish(net, FILE + bytes((number,)), bytes((number,)) * 32) for number in range(2)]
    results = [get(net, uri)[1] for uri in uris]
    net.run_until(lambda: all(result.ends for result in results))
    assert [bytes(result.data) for result in results] == [FILE + b"\0", FILE + b"\1"]
    for end in net.all_ends:
        assert end.told
