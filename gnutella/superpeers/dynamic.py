"""One query that an ultrapeer drives: whom it is sent to next, and how far, until enough came back (protocol digest 8.2).

    query = DynamicQuery(wanted=50, max_ttl=3, hosts_each=58, expected=4, now=now)
    for link, ttl in query.step(now, results, neighbours): ...      # and again when `next_at` has come, until `is_over`

Before anything is sent, popularity is guessed from what is known anyway: how many of our leaves, and how many neighbours, have
tables that match.  So the probe of a popular query is a few neighbours at TTL 1, and that of a rare one goes as far as it may.
After that the guess is results by hosts asked.  Formulas and limits are LimeWire's and gtk-gnutella's where they suit; the
pace, and what is different in small networks, are our own (docs/adr/0007-dynamic-queries.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gnutella.units import LinkId

#: Results that are enough (gtk-gnutella; digest 8.2): for a query of our own, for a leaf's, and when a hash was asked for
#: (LimeWire), whose results are all the same file.
WANTED_OWN = 150
WANTED_LEAF = 50
WANTED_HASH = 10
#: Hosts of an ultrapeer beside itself, where we have no leaves to go by (LimeWire).
LEAVES_EACH = 16
#: Results that a host has at least, as far as estimates go (digest 8.2).
MIN_RATE = 1e-6
#: Part of the ultrapeers of a full tree that is new to a query, for each hop (gtk-gnutella).
NEW_PER_HOP = 0.8
#: Ultrapeers that one query is sent to by estimate (gtk-gnutella); counts only in large networks.
MAX_HORIZON = 500_000
#: Neighbours of the first step: at TTL 1 (LimeWire, popular words), and further (gtk-gnutella, LimeWire).
PROBES_NEAR = 9
PROBES_FAR = 3
#: Where that share of what is wanted came after all neighbours were probed, up to half of these are extended one by one, by one
#: hop (our own number).
MOST = 0.5
#: Where the neighbours that may have it, with their leaves, are that share of the hosts that seem to be needed, all of them are
#: probed before anybody is asked to pass it on (our own number).
NEAR_SHARE = 0.5
#: So few neighbours are all asked at once: there is nothing to be saved, and people wait (our own number).
FEW_LINKS = 6
#: From so many neighbours on, the network is taken to be a large one, where TTLs between 1 and the largest are of use.  In a
#: small one what is behind a neighbour that had TTL 2 may be reached over that neighbour alone (our own number).
MANY_LINKS = 16
#: A step waits that long for each hop of its TTL, and each later one less, but not under the least (our own numbers, for links
#: of today: LimeWire waits 2.4 s a hop and goes down to 0.1 s, gtk-gnutella 3.7 s and 1.5 s).
HOP_S = 0.75
LEAST_HOP_S = 0.1
FASTER = 0.8
#: A query is given up after that time (LimeWire).
MAX_LIFE_S = 200.0


def ultrapeers_within(degree: int, ttl: int) -> int:
    """H(d, t): ultrapeers that a neighbour of that degree reaches with that TTL, itself included, in a tree."""
    return sum((degree - 1) ** hop for hop in range(ttl))


def new_within(degree: int, ttl: int) -> float:
    """How many of them are likely to be new to the query (gtk-gnutella)."""
    return ultrapeers_within(degree, ttl) * NEW_PER_HOP ** (ttl - 1) if ttl else 0.0


def ttl_for(degree: int, hosts: float, hosts_each: float, max_ttl: int) -> int:
    """The smallest TTL that reaches that many hosts over one neighbour, or `max_ttl` if none does (LimeWire)."""
    for ttl in range(1, max_ttl):
        if ultrapeers_within(degree, ttl) * hosts_each >= hosts:
            return ttl
    return max_ttl


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An ultrapeer that a query could go to.

    `max_ttl` is the most it may get; `may_have` what its routing table says, None without one; `extends` that it passes a query
    on that comes again with a higher TTL; `is_dynamic` that it knows of such queries at all.
    """

    link: LinkId
    degree: int
    max_ttl: int
    may_have: bool | None = None
    extends: bool = True
    is_dynamic: bool = True


class DynamicQuery:
    """The state of one query.

    `hosts_each`: hosts of an ultrapeer, itself included; `expected`: results to come of the leaves that have been asked.
    """

    __slots__ = (
        "_expected",
        "_hop_s",
        "_hosts_each",
        "_is_new",
        "asked",
        "horizon",
        "is_over",
        "next_at",
        "until",
        "wanted",
    )

    def __init__(self, wanted: int, hosts_each: float, expected: int, now: float) -> None:
        self.wanted = wanted
        self.next_at = now
        self.until = now + MAX_LIFE_S
        self.is_over = False
        #: Ultrapeers asked, by estimate; we are one.
        self.horizon = 1.0
        #: Neighbour -> the TTL it was asked with last.
        self.asked: dict[LinkId, int] = {}
        self._hosts_each = hosts_each
        self._expected = expected
        self._hop_s = HOP_S
        self._is_new = True

    def step(
        self, now: float, results: float, neighbours: Sequence[Neighbour], came: float | None = None
    ) -> list[tuple[LinkId, int]]:
        """Whom to send it to now, and with what TTL.

        `results` count so far; `neighbours` are all that could be asked now, the preferred ones first among equals.  `came` is
        what those that were asked gave, if that is not what counts.
        """
        is_large, is_new = len(neighbours) >= MANY_LINKS, self._is_new
        if results >= self.wanted or now >= self.until or (is_large and self.horizon >= MAX_HORIZON):
            self.is_over = True
            return []
        useful = (one for one in neighbours if one.max_ttl > 1 or one.may_have is not False)
        fresh = sorted((one for one in useful if one.link not in self.asked), key=_preference)
        if is_new:
            results, rate = max(results, self._expected), self._guess(neighbours)
        else:
            rate = (results if came is None else came) / (self.horizon * self._hosts_each)
        needed = (self.wanted - results) / max(rate, MIN_RATE)
        chosen: list[tuple[Neighbour, int]] = []
        if needed > 0:
            chosen = self._choose(needed, fresh, len(neighbours)) if fresh else self._again(neighbours, results)
        for neighbour, ttl in chosen:
            self.asked[neighbour.link] = ttl
            self.horizon += new_within(neighbour.degree, ttl)
        self.is_over = not (chosen or is_new)
        self.next_at = now + self._hop_s * max((ttl for _, ttl in chosen), default=1)
        self._hop_s = max(LEAST_HOP_S, self._hop_s * FASTER)
        self._is_new = False
        return [(neighbour.link, ttl) for neighbour, ttl in chosen]

    # -- inside --------------------------------------------------------------------------------------------------------

    def _guess(self, neighbours: Sequence[Neighbour]) -> float:
        """Results by host before there are any: as many as among our leaves, or as would make so many tables match."""
        tables = [one.may_have for one in neighbours if one.may_have is not None]
        share = min(tables.count(True) / len(tables), 1 - 0.5 / len(tables)) if tables else 0.0
        return max(self._expected, -math.log(1 - share)) / self._hosts_each

    def _choose(self, needed: float, fresh: list[Neighbour], count: int) -> list[tuple[Neighbour, int]]:
        """Of the neighbours that were not asked yet, some that together reach about so many hosts; `count` there are in all."""
        is_large = count >= MANY_LINKS
        near = [one for one in fresh if one.may_have is not False and (is_large or one.extends)]
        if needed <= len(near) * self._hosts_each:
            wanted = math.ceil(needed / self._hosts_each)
            return [(one, 1) for one in near[: min(wanted, max(PROBES_NEAR, len(self.asked)))]]
        if FEW_LINKS < count < MANY_LINKS and len(near) * self._hosts_each >= needed * NEAR_SHARE:
            return [(one, 1) for one in near]
        far: list[tuple[Neighbour, int]] = []
        limit = self._limit(fresh, count)
        reached = 0.0
        for one in fresh:
            if one.is_dynamic and (len(far) >= limit or reached >= needed):
                continue
            ttl = self._far(needed / len(fresh), one) if is_large else one.max_ttl
            far.append((one, ttl))
            reached += ultrapeers_within(one.degree, ttl) * self._hosts_each if is_large else 0.0
        return far

    def _limit(self, fresh: list[Neighbour], count: int) -> int:
        """How many of them may be asked in one step with more than TTL 1."""
        if self._is_new:
            return PROBES_FAR if count > FEW_LINKS else count
        return max(1, len(self.asked)) if count >= MANY_LINKS else len(fresh)

    def _far(self, hosts: float, one: Neighbour) -> int:
        """The TTL for that many hosts behind one neighbour; what its table has not is two hops away at least."""
        ttl = ttl_for(one.degree, hosts, self._hosts_each, one.max_ttl)
        return min(2, one.max_ttl) if ttl == 1 and one.may_have is False else ttl

    def _again(self, neighbours: Sequence[Neighbour], results: float) -> list[tuple[Neighbour, int]]:
        """Everybody was asked: those that were only probed get it once more, to pass it on.

        All, and as far as they may; but where most of what is wanted came already, first some of them one by one, to theirs.
        """
        probed = [one for one in neighbours if self.asked.get(one.link) == 1 and one.extends and one.max_ttl > 1]
        if results >= MOST * self.wanted and len(probed) > len(neighbours) / 2 and len(neighbours) > FEW_LINKS:
            return [(one, 2) for one in probed[:1]]
        return [(one, one.max_ttl) for one in probed]


def _preference(one: Neighbour) -> int:
    """Those whose tables match, then those without a table; Python keeps the order among equals."""
    return {True: 0, None: 1, False: 2}[one.may_have]
