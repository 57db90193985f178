"""Leaf or ultrapeer: the decision of one node, from facts, again each second (protocol digest 1.5, 6.1).

    policy = RolePolicy("auto", ISLAND, rng)
    decision = policy.decide(facts, now)         # each second; decision.role is what to be from now on
    decision = policy.knocked(facts, now)        # a leaf asks us, a leaf, for a link
    if policy.guided(facts, now): ...            # an ultrapeer told us X-Ultrapeer-Needed: False, and we obey

A node of role `auto` begins as a leaf.  It becomes an ultrapeer when there is none that it could link to, after a delay that is
short for the fit and partly chance, so that not all do at once; or when its ultrapeers say that more are needed and it meets
what is asked.  It steps back when guided to and it has no leaves, when it has had none for long and others are there, and
when a fact turns bad for good.  After a step back it waits, longer each time.  Pure: no clock, no chance of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from gnutella.superpeers.facts import Demands, Facts, fitness, obstacle, shortcoming

Setting = Literal["auto", "leaf", "ultrapeer"]
Role = Literal["leaf", "ultrapeer"]

#: Ultrapeers that a leaf keeps at least (LimeWire and gtk-gnutella keep 3 to 5; digest 6.2).
LEAST_ULTRAPEERS = 3
#: While hosts are known that could be ultrapeers to us, the delay is longer by this much: a dial takes up to 10 s.
CANDIDATES_S = 5.0
#: Leaves from which on an ultrapeer wants others beside it, and that each further one is wanted for (our own numbers: below
#: that, the network is smaller than what one ultrapeer needs to be useful).
FEW_LEAVES = 4
LEAVES_PER_NEIGHBOUR = 25
#: Share of the leaf slots that may be taken before newcomers are no longer asked to become leaves (LimeWire; digest 1.5).
FULL_SHARE = 0.9
#: Time with leaves after which a step back later is the first again.
GOOD_LIFE_S = 600.0


class Chance(Protocol):
    """The part of random.Random that is used here."""

    def random(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Decision:
    """What to be, why, and since when; facts.judge tells how each fact was judged."""

    role: Role
    reason: str
    since: float


class RolePolicy:
    """One node's.  `setting` other than `auto` fixes the role."""

    def __init__(self, setting: Setting, demands: Demands, rng: Chance, now: float = 0.0) -> None:
        self.setting = setting
        self.demands = demands
        self.role: Role = "ultrapeer" if setting == "ultrapeer" else "leaf"
        self.since = now
        self._rng = rng
        self._reason = "begins as a leaf" if setting == "auto" else f"network.role is {setting!r}"
        #: Since when each of these holds; None: it does not.
        self._alone_since: float | None = None
        self._wanted_since: float | None = None
        self._leafless_since: float | None = None
        self._unfit_since: float | None = None
        self._delay_s = 0.0
        self._step_backs = 0
        self._not_before = float("-inf")

    def use_setting(self, setting: Setting, now: float) -> None:
        """The user wants another role; `decide` obeys at once."""
        if setting != self.setting:
            self.setting = setting
            if setting != "auto":
                self._become(setting, f"network.role is {setting!r}", now)

    def decide(self, facts: Facts, now: float) -> Decision:
        """The role from now on."""
        if self.setting == "auto":
            if self.role == "leaf":
                self._consider_promotion(facts, now)
            else:
                self._consider_demotion(facts, now)
        return self.decision()

    def knocked(self, facts: Facts, now: float) -> Decision:
        """A leaf wants a link with us, a leaf: be its ultrapeer if neither of us knows another one."""
        if self.setting == "auto" and self.role == "leaf" and not (facts.ultrapeers or facts.candidates):
            alone_s = 0.0 if self._alone_since is None else now - self._alone_since
            if alone_s >= self.demands.knock_s and obstacle(facts, self.demands) is None:
                self._become("ultrapeer", "a leaf asked, and no ultrapeer is known here", now)
        return self.decision()

    def guided(self, facts: Facts, now: float) -> bool:
        """An ultrapeer that we dialled as one says that none is needed: True if we are its leaf from now on."""
        if self.role == "leaf":
            return True
        if self.setting != "auto" or facts.leaves:
            return False
        self._step_back("an ultrapeer said that no other one is needed", now)
        return True

    def decision(self) -> Decision:
        """What was decided last."""
        return Decision(self.role, self._reason, self.since)

    # -- up ------------------------------------------------------------------------------------------------------------

    def _consider_promotion(self, facts: Facts, now: float) -> None:
        is_alone = facts.ultrapeers == 0
        is_wanted = not is_alone and _is_wanted(facts)
        self._alone_since = self._begin(self._alone_since, is_alone, facts, now)
        self._wanted_since = self._begin(self._wanted_since, is_wanted, facts, now)
        if (bad := obstacle(facts, self.demands)) is not None:
            self._reason = f"not fit as an ultrapeer: {bad}"
        elif self._alone_since is not None:
            waits_s = self._delay_s + (CANDIDATES_S if facts.candidates else 0.0)
            self._promote_after(self._alone_since + waits_s, "no ultrapeer is to be found", now)
        elif self._wanted_since is not None:
            if (lack := shortcoming(facts, self.demands)) is not None:
                self._reason = f"ultrapeers are needed, but {lack}"
            else:
                due_at = max(self._wanted_since + self._delay_s, self._not_before)
                self._promote_after(due_at, "more ultrapeers are needed", now)
        else:
            self._reason = "its ultrapeers need no other one"

    def _begin(self, since: float | None, holds: bool, facts: Facts, now: float) -> float | None:
        """When a need began, and with it the delay: half of the spread by fitness, half by chance."""
        if not holds:
            return None
        if since is not None:
            return since
        demands = self.demands
        share = (1.0 - fitness(facts, demands)) / 2 + self._rng.random() / 2
        self._delay_s = demands.first_delay_s + demands.spread_s * share
        return now

    def _promote_after(self, due_at: float, need: str, now: float) -> None:
        if now >= due_at:
            self._become("ultrapeer", need, now)
        else:
            self._reason = f"{need}; soon an ultrapeer, unless a fitter one is first"

    # -- down ----------------------------------------------------------------------------------------------------------

    def _consider_demotion(self, facts: Facts, now: float) -> None:
        bad = obstacle(facts, self.demands)
        self._unfit_since = _since(self._unfit_since, bad is not None, now)
        was_leafless = self._leafless_since is not None
        self._leafless_since = _since(self._leafless_since, facts.leaves == 0 and facts.ultrapeers > 0, now)
        if self._leafless_since is not None and not was_leafless:
            # Two that have only each other must not step back in the same second.
            self._delay_s = self.demands.no_leaves_s * (1.0 + self._rng.random())
        if facts.leaves and now - self.since >= GOOD_LIFE_S:
            self._step_backs = 0
        if bad is not None and self._unfit_since is not None and now - self._unfit_since >= self.demands.unfit_s:
            if facts.ultrapeers:
                self._step_back(bad, now)
        elif self._leafless_since is not None and now - self._leafless_since >= self._delay_s:
            self._step_back("no leaves for long, and other ultrapeers are there", now)

    def _step_back(self, reason: str, now: float) -> None:
        self._become("leaf", reason, now)
        wait_s = self.demands.retry_s * 2.0 ** min(self._step_backs, 16)
        self._not_before = now + min(self.demands.max_retry_s, wait_s)
        self._step_backs += 1

    def _become(self, role: Role, reason: str, now: float) -> None:
        self._reason = reason
        if role != self.role:
            self.role, self.since = role, now
        self._alone_since = self._wanted_since = self._leafless_since = self._unfit_since = None


def needs_ultrapeers(ultrapeers: int, leaves: int, demands: Demands) -> bool | None:
    """What an ultrapeer with that many links says as X-Ultrapeer-Needed; None: nothing.

    False, which asks another ultrapeer to become our leaf, only while there are leaf slots and enough ultrapeers beside us.
    """
    if ultrapeers < min(demands.max_links, wanted_neighbours(leaves, demands)):
        return True
    if leaves < demands.max_leaves * FULL_SHARE:
        return False
    return True if ultrapeers < demands.max_links else None


def wanted_neighbours(leaves: int, demands: Demands) -> int:
    """How many ultrapeers an ultrapeer wants beside it: on the public network always some, in an island if it is large."""
    if demands.needs_proof:
        return demands.neighbours
    return demands.neighbours + leaves // LEAVES_PER_NEIGHBOUR if leaves >= FEW_LEAVES else 0


def _is_wanted(facts: Facts) -> bool:
    """Most of our ultrapeers need others, or they are so full that we cannot have as many as a leaf should."""
    return facts.wanted_by > facts.not_wanted_by or (facts.full > 0 and facts.ultrapeers < LEAST_ULTRAPEERS)


def _since(since: float | None, holds: bool, now: float) -> float | None:
    return None if not holds else now if since is None else since
