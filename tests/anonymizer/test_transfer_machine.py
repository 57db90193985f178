"""Transfers under whatever pivots and relays may do, in any order: the file, or a named end, and never anything else."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer.chk import DATA_BYTES
from anonymizer.errors import AnonymityError
from anonymizer.inner import FailReason
from anonymizer.lanes import WINDOW
from anonymizer.wire import CloseReason
from gnutella.testing.relay_pivot import FarEnd, RelayPivots
from tests.anonymizer.transfers import Result, get, publish, put

FILE = random.Random(11).randbytes(18 * DATA_BYTES + 99)


@dataclass(frozen=True)
class Weather:
    """What happens: chances of each misdeed of a pivot, and what relays do at which times."""

    seed: int
    lost: float
    lies: float
    fails: float
    reason: FailReason
    silent: int
    kills: tuple[float, ...]
    guard_away: tuple[float, float]

    def set(self, net: RelayPivots) -> None:
        chance = random.Random(self.seed)
        for routing in [routing for routing in net.blocks if chance.random() < self.lost]:
            del net.blocks[routing]

        def fate(end: FarEnd, routing: bytes) -> FailReason | None:
            return self.reason if chance.random() < self.fails else None

        def lies(pivot_id: bytes, block: bytes) -> bytes:
            if chance.random() >= self.lies:
                return block
            at = chance.randrange(len(block))
            return block[:at] + bytes((block[at] ^ (1 << chance.randrange(8)),)) + block[at + 1 :]

        net.fate, net.lies = fate, lies
        net.copies = lambda end, block: 0 if chance.random() < self.fails else 1
        net.silent = {descriptor.node_id for descriptor in list(net.known)[: self.silent]}
        for when in self.kills:
            net.timers.at(net.now + when, lambda now: self._kill(net, chance))
        start, length = self.guard_away
        if length:
            net.timers.at(net.now + start, lambda now: setattr(net, "has_guard", False))
            net.timers.at(net.now + start + length, lambda now: setattr(net, "has_guard", True))

    def _kill(self, net: RelayPivots, chance: random.Random) -> None:
        if net.circuits:
            net.kill(chance.choice(list(net.circuits)), chance.choice(list(CloseReason)))


rare = st.sampled_from((0.0, 0.0, 0.02, 0.3))
weathers = st.builds(
    Weather,
    st.integers(0, 2**32),
    rare,
    rare,
    rare,
    st.sampled_from(FailReason),
    st.sampled_from((0, 0, 3, 12)),
    st.lists(st.floats(0.05, 20.0), max_size=8).map(tuple),
    st.tuples(st.floats(0.1, 5.0), st.sampled_from((0.0, 60.0, 4_000.0))),
)


def check_end(net: RelayPivots, result: Result, used: list[bytes]) -> None:
    """What holds whatever the weather was."""
    assert len(result.ends) == 1
    assert result.ends[0] is None or isinstance(result.ends[0], AnonymityError)
    net.settle()
    assert not net.circuits and set(net.closed) <= {CloseReason.DONE}
    assert len(set(used)) == len(used) <= 2 + 3
    assert all(count <= WINDOW for end in net.all_ends for _, count in end.outstanding)


@settings(max_examples=12, deadline=None)
@given(weathers)
def test_what_is_got_is_the_file_or_a_part_of_it_with_a_named_end(weather: Weather) -> None:
    net = RelayPivots(weather.seed, pivots=12)
    uri = publish(net, FILE)
    weather.set(net)
    getting, result = get(net, uri)
    net.run_until(lambda: bool(result.ends) and not getting.is_healing, 20_000.0)
    check_end(net, result, net.pivots_used)
    assert FILE.startswith(bytes(result.data))
    assert (result.ends[0] is None) is (len(result.data) == len(FILE))


@settings(max_examples=6, deadline=None)
@given(weathers)
def test_what_is_put_can_be_got_or_has_no_key(weather: Weather) -> None:
    net = RelayPivots(weather.seed, pivots=12)
    weather.set(net)
    putting, result = put(net, FILE, size=len(FILE))
    net.run_until(lambda: bool(result.ends), 20_000.0)
    check_end(net, result, net.pivots_used)
    if result.ends[0] is not None:
        assert putting.uri is None
        return
    assert putting.uri is not None
    later = RelayPivots(weather.seed + 1)
    later.blocks = net.blocks
    _, got = get(later, putting.uri)
    later.run_until(lambda: bool(got.ends))
    assert got.data == FILE
