"""Circles of edges, which end without anything that knows what went round in them; and posts, which are delivered once.

Edges lead to edges by private draws, so a few of them may make a circle in which no coin ends the stem, and nothing in a cell
counts.  What goes round in one comes by the same edge again and again, faster than honest circuits do: when an edge has used up
what it may have, stems that come by it end here, whichever they are.  A memory of seals would end circles sooner, and tell
whoever sends a seal again whether it came this way before (docs/anonymity.md, A13).
"""

from __future__ import annotations

import hashlib
from typing import Final

from anonymizer.rates import Bucket
from anonymizer.reasons import Refusal, Refusals

#: Openings and posts that go on as stems, of each edge: a second, and at once.  A circle of n edges takes some n * 65 ms, so
#: circles of up to 30 (15 for posts) use more; a coin in each of so many fails to end the stem one time in 5,000 (75).
OPENS_A_SECOND: Final = 0.5
OPENS_AT_ONCE: Final = 8
POSTS_A_SECOND: Final = 1.0
POSTS_AT_ONCE: Final = 16
#: Posts that are remembered by their pivot, and for how long at least (design section 3.17).
MAX_SEEN: Final = 65_536
SEEN_S: Final = 600.0


class Rounds:
    """How often stems may go on that come by an edge."""

    __slots__ = ("_opens", "_posts", "_refusals")

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._opens: dict[bytes, Bucket] = {}
        self._posts: dict[bytes, Bucket] = {}

    def goes_on(self, edge: bytes, is_post: bool, now: float) -> bool:
        """Whether this one may; if not, its stem ends here."""
        buckets = self._posts if is_post else self._opens
        bucket = buckets.get(edge)
        if bucket is None:
            rate, burst = (POSTS_A_SECOND, POSTS_AT_ONCE) if is_post else (OPENS_A_SECOND, OPENS_AT_ONCE)
            bucket = buckets[edge] = Bucket(rate, burst)
        if bucket.take(now):
            return True
        self._refusals.count(Refusal.STEM_ENDED)
        return False

    def forget(self, edge: bytes) -> None:
        """It is no edge any more."""
        self._opens.pop(edge, None)
        self._posts.pop(edge, None)


class Generations:
    """Names of the last while, in two generations of `life_s` seconds: none is forgotten sooner, unless `turn` is told to."""

    __slots__ = ("_life_s", "_new", "_old", "_until")

    def __init__(self, life_s: float) -> None:
        self._life_s = life_s
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()
        self._until = 0.0

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def __contains__(self, name: bytes) -> bool:
        return name in self._new or name in self._old

    @property
    def young(self) -> int:
        """How many are of the generation that is being filled."""
        return len(self._new)

    def turn(self, now: float, is_full: bool = False) -> None:
        """Forget what is too old; `is_full`: and the older half, whatever its age."""
        if now >= self._until or is_full:
            is_past = now >= self._until + self._life_s
            self._old, self._new = set() if is_past else self._new, set()
            self._until = now + self._life_s

    def add(self, name: bytes) -> None:
        self._new.add(name)


class Delivered:
    """Posts that came to this node as their pivot; when full, the older half goes."""

    __slots__ = ("_limit", "_seen")

    def __init__(self, limit: int = MAX_SEEN) -> None:
        self._limit = limit
        self._seen = Generations(SEEN_S)

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, sealed: bytes, now: float) -> bool:
        """Whether it came before; from now on it did."""
        self._seen.turn(now, 2 * self._seen.young >= self._limit)
        key = hashlib.sha256(sealed).digest()[:16]
        was_here = key in self._seen
        self._seen.add(key)
        return was_here
