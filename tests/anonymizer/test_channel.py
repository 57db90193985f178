"""Own circuits: which pivots they go to, what becomes of lost ones, and that nobody is told what we think of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anonymizer.channel import (
    FIRST_GUARD_WAIT_S,
    GUARD_WAIT_S,
    MAX_REOPENS,
    OLD_S,
    OPENED_FLOOR_S,
    Channel,
    Channels,
    Picks,
)
from anonymizer.errors import AnonymityError, NoAnonymousRoute, PivotTimeout
from anonymizer.fields import Body
from anonymizer.inner import Dummy, FailReason, FetchKeys, InnerBlock
from anonymizer.known import KnownNodes
from anonymizer.reasons import Refusal
from anonymizer.wire import BLOCK_SIZES, BlockType, CloseReason
from gnutella.errors import LocalMisuse
from gnutella.testing.relay_nodes import NOW, descriptor_of
from gnutella.testing.relay_pivot import RelayPivots

KEY = bytes((BlockType.SSK,)) + bytes(32)
OTHER = FetchKeys((bytes((BlockType.SSK,)) + bytes(31) + b"1",))


class Log:
    """Keeps what it is told; its first instruction asks for one key."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.said: list[Body] = []
        self.errors: list[AnonymityError] = []

    def first(self, channel: Channel, now: float) -> Body:
        return FetchKeys((KEY,))

    def opened(self, channel: Channel, now: float) -> None:
        self.events.append("opened")

    def heard(self, channel: Channel, body: Body, now: float) -> None:
        self.events.append("heard")
        self.said.append(body)

    def lost(self, channel: Channel, now: float) -> None:
        self.events.append("lost")

    def failed(self, channel: Channel, error: AnonymityError, now: float) -> None:
        self.events.append("failed")
        self.errors.append(error)

    def has_room(self, channel: Channel, now: float) -> None:
        self.events.append("room")


def channels_of(
    net: RelayPivots,
    guard_network: str | None = "guard",
    own_id: bytes = b"o" * 32,
    *,
    is_here: Callable[[], bool] = lambda: True,
    has_guards: bool | None = None,
) -> Channels:
    channels = Channels(
        own_id,
        net,
        net.known,
        net.rng,
        net.timers,
        net.new_key,
        lambda: guard_network if is_here() else None,
        has_guards=lambda: has_guards,
    )
    net.origin = channels
    return channels


def network_of(net: RelayPivots, node_id: bytes) -> str:
    descriptor = net.known.get(node_id)
    assert descriptor is not None
    return net.known.network_of(descriptor)


def test_the_first_instruction_is_answered_with_the_first_cells() -> None:
    net, log = RelayPivots(), Log()
    net.blocks[KEY[1:]] = (bytes(BLOCK_SIZES[BlockType.SSK]),)
    channel = channels_of(net).open(log, net.now)
    with pytest.raises(LocalMisuse):
        channel.say(Dummy(), net.now)
    net.run(5.0)
    assert log.events == ["opened", "heard"] and isinstance(log.said[0], InnerBlock)
    assert channel.is_open and channel.room == 64
    assert {what for _, what, _ in net.log[1:]} == {"small"} and net.circuits[1].told == [FetchKeys((KEY,))]


def test_what_is_said_is_heard_and_close_ends_it() -> None:
    net, log = RelayPivots(), Log()
    channel = channels_of(net).open(log, net.now)
    net.run(5.0)
    channel.say(OTHER, net.now)
    net.run(20.0)
    (end,) = net.circuits.values()
    assert end.told == [FetchKeys((KEY,)), OTHER] and end.dummies > 5
    channel.close(net.now)
    net.run(600.0)
    assert net.closed == [CloseReason.DONE] and len(net.pivots_used) == 1 and "lost" not in log.events
    assert len(net.timers) == 0


def test_a_silent_pivot_is_left_after_a_time_without_an_upper_end() -> None:
    waits = []
    for seed in range(40):
        net, log = RelayPivots(seed), Log()
        net.answers_seals = False
        channels_of(net).open(log, net.now)
        waits.append(net.run_until(lambda log=log: "lost" in log.events))  # type: ignore[misc]
    assert min(waits) > OPENED_FLOOR_S
    assert sum(wait > OPENED_FLOOR_S + 15 for wait in waits) > 10, "exponential of mean 20 s"
    assert max(waits) > OPENED_FLOOR_S + 40


def test_three_more_pivots_and_then_a_named_end() -> None:
    net, log = RelayPivots(), Log()
    net.answers_seals = False
    channels = channels_of(net)
    channels.open(log, net.now)
    net.run_until(lambda: "failed" in log.events)
    assert log.events == ["lost"] * MAX_REOPENS + ["failed"]
    assert isinstance(log.errors[0], PivotTimeout)
    assert len(set(net.pivots_used)) == len(net.pivots_used) == 1 + MAX_REOPENS
    assert channels.unanswered == 1 + MAX_REOPENS and channels.opened == 0
    net.settle()
    assert set(net.closed) == {CloseReason.DONE} and not channels.channels and len(net.timers) == 0


@pytest.mark.parametrize("reason", list(CloseReason))
def test_a_circuit_that_ends_is_replaced_whatever_it_is_said_to_end_of(reason: CloseReason) -> None:
    net, log = RelayPivots(), Log()
    channels_of(net).open(log, net.now)
    net.run(5.0)
    net.kill(1, reason)
    net.run(60.0)
    assert log.events.count("lost") == 1 and log.events[-2:] == ["opened", "heard"]
    assert len(set(net.pivots_used)) == 2 and net.closed == []


def test_a_lost_circuit_is_not_replaced_at_once() -> None:
    """Pitfall 3: the time from an end that comes down to the next that goes up is that of somebody further away."""
    gaps = []
    for seed in range(25):
        net, log = RelayPivots(seed), Log()
        channels_of(net).open(log, net.now)
        net.run(5.0)
        net.kill(1)
        killed = net.now
        net.run_until(lambda net=net: len(net.pivots_used) == 2)  # type: ignore[misc]
        gaps.append(net.log[-1][0] - killed)
    assert min(gaps) > 0.08 and sum(gaps) / len(gaps) > 1.0 and len(set(gaps)) == len(gaps)


def test_a_changed_cell_ends_the_circuit_as_any_other_end() -> None:
    """Pitfall 14, tagging: nothing of the cell is heard, and the reason is that of an end that was wished for."""
    net, log = RelayPivots(), Log()
    channels = channels_of(net)
    channels.open(log, net.now)
    net.run(5.0)
    end = net.circuits[1].end
    assert end is not None
    cell = bytearray(end.say(Dummy()))
    cell[7] ^= 1
    net.down(1, bytes(cell), net.now)
    net.settle()
    assert "heard" in log.events and net.closed == [CloseReason.DONE]
    assert channels.refusals[Refusal.BAD_TAG] == 1


def test_pivots_are_neither_of_the_guards_network_nor_twice_of_one_network() -> None:
    net = RelayPivots(pivots=8)
    guard_network = network_of(net, next(iter(net.known)).node_id)
    channels, picks = channels_of(net, guard_network), Picks()
    found = [channels.open(Log(), net.now, picks) for _ in range(7)]
    assert len(found) == 7
    networks = [network_of(net, node_id) for node_id in net.pivots_used]
    assert len(set(networks)) == 7 and guard_network not in networks and picks.count == 7
    with pytest.raises(NoAnonymousRoute):
        channels.open(Log(), net.now, picks)
    channels.open(Log(), net.now)


def test_young_nodes_and_those_without_a_key_are_no_pivots() -> None:
    net = RelayPivots(pivots=0)
    net.add_pivot(1, age_s=60.0)
    broken = descriptor_of(2, pivot_keys=(b"\x09" + bytes(32), b"\x01" + bytes(32)))
    none = descriptor_of(3, pivot_keys=())
    net.known.restore([(data, NOW - 200_000, [b"a", b"b", b"c"]) for data in (broken.data, none.data)], NOW)
    with pytest.raises(NoAnonymousRoute):
        channels_of(net).open(Log(), net.now)
    assert net.log == []


def test_a_node_that_knows_only_itself_sends_nothing() -> None:
    """Pitfall 10: no stem and no pivot never means that the origin is its own."""
    net = RelayPivots(pivots=0)
    own = descriptor_of(1)
    net.known = KnownNodes(own.node_id)
    net.known.restore([(own.data, NOW - 200_000, [b"a", b"b", b"c"])], NOW)
    with pytest.raises(NoAnonymousRoute):
        channels_of(net, own_id=own.node_id).open(Log(), net.now)
    for has_guard, network in ((True, None), (False, "guard")):
        net = RelayPivots()
        net.has_guard = has_guard
        with pytest.raises(NoAnonymousRoute):
            channels_of(net, network).open(Log(), net.now)
        assert net.log == []


def test_the_guard_is_waited_for_and_then_the_end_is_named() -> None:
    net, log = RelayPivots(), Log()
    channels_of(net).open(log, net.now)
    net.run(5.0)
    net.has_guard = False
    net.kill(1)
    net.run(300.0)
    assert log.events[-1] == "lost"
    net.has_guard = True
    net.run(300.0)
    assert log.events[-2:] == ["opened", "heard"]
    net.has_guard = False
    net.kill(2)
    net.run(3_600.0)
    assert isinstance(log.errors[0], NoAnonymousRoute)


@pytest.mark.parametrize(
    ("has_guards", "waits_s"), [(True, GUARD_WAIT_S), (False, FIRST_GUARD_WAIT_S)], ids=["used before", "never used"]
)
def test_who_begins_while_the_guard_is_away_waits_for_it(has_guards: bool, waits_s: float) -> None:
    for comes_back in (True, False):
        net, log, here = RelayPivots(), Log(), [False]
        channels = channels_of(net, is_here=lambda here=here: here[0], has_guards=has_guards)  # type: ignore[misc]
        channels.open(log, net.now)
        net.run(waits_s / 3)
        assert net.log == [] and log.events == []
        here[0] = comes_back
        net.run(2 * waits_s)
        if comes_back:
            assert log.events == ["opened", "heard"]
        else:
            assert isinstance(log.errors[0], NoAnonymousRoute) and net.log == []
        with pytest.raises(NoAnonymousRoute):
            channels_of(RelayPivots(pivots=0), has_guards=has_guards).open(Log(), net.now)


def test_old_circuits_are_replaced_without_being_counted() -> None:
    net, log = RelayPivots(), Log()
    picks = Picks()
    channels_of(net).open(log, net.now, picks)
    net.run(OLD_S + 60.0)
    net.kill(1)
    assert picks.reopens == MAX_REOPENS
    net.run(30.0)
    net.kill(2)
    assert picks.reopens == MAX_REOPENS - 1


def test_fails_of_the_pivot_are_told_to_the_asker() -> None:
    net, log = RelayPivots(), Log()
    net.fate = lambda end, routing: FailReason.OVERLOAD
    channels_of(net).open(log, net.now)
    net.run(5.0)
    assert log.events == ["opened", "heard"]
