"""Which role a node takes: alone, wanted, guided, without leaves, unfit; and that it does not waver."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.superpeers.facts import ISLAND, PUBLIC, Facts, fitness, judge, obstacle, shortcoming
from gnutella.superpeers.roles import (
    CANDIDATES_S,
    FEW_LEAVES,
    GOOD_LIFE_S,
    LEAVES_PER_NEIGHBOUR,
    RolePolicy,
    needs_ultrapeers,
)

#: What a server in a rack finds of itself.
STRONG = Facts(
    uptime_s=7200.0, tcp=True, udp=True, upload_bytes_s=10**7, files=65536, memory_bytes=10**10, is_clock_sane=True
)
LONGEST_S = ISLAND.first_delay_s + ISLAND.spread_s + CANDIDATES_S


def auto(seed: int = 1, demands: object = ISLAND) -> RolePolicy:
    return RolePolicy("auto", demands, random.Random(seed))  # type: ignore[arg-type]


def run(policy: RolePolicy, facts: Facts, start: float, seconds: float) -> float | None:
    """Decide each second; when the role changed."""
    before = policy.role
    for step in range(int(seconds) + 1):
        if policy.decide(facts, start + step).role != before:
            return start + step
    return None


@pytest.mark.parametrize("role", ["leaf", "ultrapeer"])
def test_a_role_that_is_set_stays(role: str) -> None:
    policy = RolePolicy(role, ISLAND, random.Random(1))  # type: ignore[arg-type]
    for facts in (Facts(), replace(Facts(), ultrapeers=4), replace(Facts(), tcp=False, ultrapeers=1)):
        assert run(policy, facts, 0.0, 900.0) is None
    assert role in policy.decide(Facts(), 8000.0).reason
    assert policy.knocked(Facts(), 8000.0).role == role
    assert policy.guided(Facts(), 8000.0) is (role == "leaf")


def test_the_user_changes_the_role_while_it_runs() -> None:
    policy = auto()
    policy.use_setting("ultrapeer", 5.0)
    assert policy.decide(Facts(), 5.0).role == "ultrapeer"
    policy.use_setting("auto", 6.0)
    assert policy.decide(Facts(ultrapeers=1, leaves=2), 6.0).role == "ultrapeer"


@pytest.mark.parametrize("candidates", [0, 3])
def test_in_an_island_somebody_is_an_ultrapeer_within_30_seconds_and_not_everybody_at_once(candidates: int) -> None:
    times = [run(auto(seed), Facts(candidates=candidates), 0.0, 60.0) for seed in range(200)]
    assert all(time is not None and time <= LONGEST_S < 30.0 for time in times)
    first = min(time for time in times if time is not None)
    assert first >= ISLAND.first_delay_s
    assert sum(time is not None and time < first + 3.0 for time in times) < 100


def test_the_fit_go_first() -> None:
    strong = [run(auto(seed), STRONG, 0.0, 60.0) for seed in range(20)]
    weak = [run(auto(seed), Facts(files=1024), 0.0, 60.0) for seed in range(20)]
    assert sum(time or 0.0 for time in strong) + 20 < sum(time or 0.0 for time in weak)
    assert 0.0 <= fitness(Facts(), ISLAND) < fitness(STRONG, ISLAND) <= 1.0


def test_a_leaf_with_ultrapeers_that_need_none_stays_one() -> None:
    assert run(auto(), replace(STRONG, ultrapeers=1, not_wanted_by=1), 0.0, 900.0) is None


def test_a_leaf_that_is_needed_becomes_an_ultrapeer_after_its_delay() -> None:
    changed = run(auto(), Facts(ultrapeers=1, wanted_by=1), 100.0, 60.0)
    assert changed is not None and 100.0 + ISLAND.first_delay_s <= changed <= 100.0 + LONGEST_S


def test_full_ultrapeers_count_as_a_need_only_while_a_leaf_has_too_few() -> None:
    assert run(auto(), Facts(ultrapeers=2, not_wanted_by=2, full=3), 0.0, 60.0) is not None
    assert run(auto(), Facts(ultrapeers=3, not_wanted_by=3, full=3), 0.0, 60.0) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tcp": None}, "reached over TCP: not known"),
        ({"udp": None}, "reached over UDP: not known"),
        ({"uptime_s": 600.0}, "uptime"),
        ({"upload_bytes_s": None}, "upstream"),
    ],
)
def test_the_public_network_wants_proof_from_those_who_are_needed(change: dict[str, object], told: str) -> None:
    facts = replace(STRONG, ultrapeers=3, wanted_by=3)
    assert run(auto(1, PUBLIC), facts, 0.0, 60.0) is not None
    policy = auto(1, PUBLIC)
    unproven = replace(facts, **change)  # type: ignore[arg-type]
    assert run(policy, unproven, 0.0, 900.0) is None
    assert told in policy.decide(unproven, 901.0).reason
    assert run(auto(), unproven, 0.0, 60.0) is not None, "an island does not"


@pytest.mark.parametrize(
    "change",
    [
        {"tcp": False},
        {"upload_bytes_s": 100},
        {"files": ISLAND.files - 1},
        {"memory_bytes": ISLAND.memory_bytes - 1},
        {"is_clock_sane": False},
    ],
)
def test_whoever_would_be_useless_is_no_ultrapeer_even_alone(change: dict[str, object]) -> None:
    facts = replace(STRONG, **change)  # type: ignore[arg-type]
    policy = auto()
    assert run(policy, facts, 0.0, 600.0) is None
    assert policy.knocked(facts, 601.0).role == "leaf"
    assert obstacle(facts, ISLAND) is not None
    assert [finding.is_met for finding in judge(facts, ISLAND)].count(False) == 1
    assert obstacle(STRONG, PUBLIC) is shortcoming(STRONG, PUBLIC) is None


def test_without_udp_one_is_an_ultrapeer_in_an_island_only() -> None:
    facts = replace(STRONG, udp=False, ultrapeers=1, wanted_by=1)
    assert run(auto(), facts, 0.0, 60.0) is not None
    assert run(auto(1, PUBLIC), facts, 0.0, 900.0) is None


def test_a_leaf_that_asks_makes_an_ultrapeer_of_whoever_knows_none() -> None:
    assert auto().knocked(Facts(), 0.0).role == "ultrapeer"
    assert auto().knocked(Facts(candidates=1), 0.0).role == "leaf"
    assert auto().knocked(Facts(ultrapeers=1), 0.0).role == "leaf"
    public = auto(1, PUBLIC)
    assert public.knocked(Facts(), 0.0).role == "leaf"
    public.decide(Facts(), 0.0)
    assert public.knocked(Facts(), PUBLIC.knock_s).role == "ultrapeer"


def test_guidance_is_obeyed_without_leaves_only_and_not_asked_for_again_soon() -> None:
    policy = auto()
    assert policy.knocked(Facts(), 0.0).role == "ultrapeer"
    assert not policy.guided(Facts(leaves=1), 1.0)
    assert policy.guided(Facts(), 2.0) and policy.role == "leaf"
    wanted = Facts(ultrapeers=1, wanted_by=1)
    again = run(policy, wanted, 3.0, 600.0)
    assert again is not None and again >= 2.0 + ISLAND.retry_s
    assert policy.guided(Facts(), again)
    third = run(policy, wanted, again, 600.0)
    assert third is not None and third >= again + 2 * ISLAND.retry_s


def test_waits_between_attempts_are_bounded_and_forgotten_after_a_good_time() -> None:
    policy = auto()
    now, wanted = 0.0, Facts(ultrapeers=1, wanted_by=1)
    for _ in range(12):
        now = run(policy, wanted, now, 2000.0) or 0.0
        assert policy.guided(Facts(), now)
    assert (run(policy, wanted, now, 2000.0) or 1e9) - now <= ISLAND.max_retry_s + 1
    policy.decide(Facts(leaves=5, ultrapeers=1), policy.since + GOOD_LIFE_S)
    now = policy.since + GOOD_LIFE_S
    assert policy.guided(Facts(), now)
    assert (run(policy, wanted, now, 2000.0) or 1e9) - now <= ISLAND.retry_s + 1


def test_an_ultrapeer_without_leaves_steps_back_if_there_are_others() -> None:
    policy = auto()
    policy.knocked(Facts(), 0.0)
    assert run(policy, Facts(leaves=1, ultrapeers=5), 1.0, 900.0) is None
    assert run(policy, Facts(), 4000.0, 900.0) is None, "it is the only one"
    changed = run(policy, Facts(ultrapeers=1), 8000.0, 900.0)
    assert changed is not None and ISLAND.no_leaves_s <= changed - 8000.0 <= 2 * ISLAND.no_leaves_s + 1
    assert "no leaves" in policy.decide(Facts(), changed).reason or policy.role == "leaf"


def test_an_ultrapeer_that_turns_unfit_steps_back_once_that_lasts() -> None:
    policy = auto()
    policy.knocked(Facts(), 0.0)
    good, bad = Facts(leaves=3, ultrapeers=2), Facts(leaves=3, ultrapeers=2, tcp=False)
    for start in range(0, 200, 20):
        assert run(policy, bad, float(start), ISLAND.unfit_s / 3) is None
        policy.decide(good, start + ISLAND.unfit_s / 3 + 1)
    assert run(policy, replace(bad, ultrapeers=0), 300.0, 300.0) is None, "without others its leaves have only it"
    assert run(policy, bad, 700.0, 300.0) is not None


def test_what_an_ultrapeer_says_it_needs() -> None:
    few, some = FEW_LEAVES - 1, FEW_LEAVES
    assert needs_ultrapeers(0, few, ISLAND) is False
    assert needs_ultrapeers(0, some, ISLAND) is True
    assert needs_ultrapeers(ISLAND.neighbours, some, ISLAND) is False
    assert needs_ultrapeers(ISLAND.neighbours, LEAVES_PER_NEIGHBOUR, ISLAND) is True
    assert needs_ultrapeers(20, 90, ISLAND) is True
    assert needs_ultrapeers(32, 90, ISLAND) is None
    assert needs_ultrapeers(0, 0, PUBLIC) is True
    assert needs_ultrapeers(PUBLIC.neighbours, 0, PUBLIC) is False


def test_demands_grow_with_the_number_of_leaves() -> None:
    large = ISLAND.sized(2000, 32)
    assert large.files > 2000 and large.memory_bytes == 20 * ISLAND.memory_bytes
    assert obstacle(Facts(files=1024), large) is not None


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    known = st.sampled_from([None, True, False])
    number = st.none() | st.integers(0, 10**10)
    small = st.integers(0, 5)
    return Facts(
        draw(st.floats(0, 1e6)),
        draw(known),
        draw(known),
        draw(number),
        draw(number),
        draw(number),
        draw(st.booleans()),
        *(draw(small) for _ in range(6)),
    )


@given(st.lists(st.tuples(facts(), st.floats(0, 100), st.booleans()), max_size=30), st.booleans(), st.integers(0, 99))
def test_whatever_happens_roles_change_only_for_a_reason(
    steps: list[tuple[Facts, float, bool]], is_public: bool, seed: int
) -> None:
    demands = PUBLIC if is_public else ISLAND
    policy, now = RolePolicy("auto", demands, random.Random(seed)), 0.0
    for now_facts, pause, is_knock in steps:
        now += pause
        before = policy.role
        decision = policy.knocked(now_facts, now) if is_knock else policy.decide(now_facts, now)
        assert decision.reason and decision == policy.decision() and len(judge(now_facts, demands)) == 7
        if decision.role == before:
            continue
        assert decision.since == now
        if decision.role == "ultrapeer":
            assert obstacle(now_facts, demands) is None
            assert not now_facts.ultrapeers or shortcoming(now_facts, demands) is None
        else:
            assert now_facts.ultrapeers, "an ultrapeer without others stays one"
