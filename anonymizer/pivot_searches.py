"""Searches at a pivot: flooded in its own name, hits passed on to who searches, and the plain overlay asked if it may be.

A hit comes as a one-shot seal to the pivot, which says what search it is for; the hit in it is sealed to who searches, so the
pivot can leave it out and do nothing else with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from anonymizer.fields import Body
from anonymizer.gateway import GatewayDesk
from anonymizer.inner import Fail, FailReason, Hit, InnerSeek
from anonymizer.pacing import Chance
from anonymizer.pivot_blocks import Visit
from anonymizer.posts import open_post
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.seal import PivotKeys, Replays
from anonymizer.seams import Gateway, Seeks
from anonymizer.timers import Timer, Timers

#: Searches of a circuit that hits are passed on for, and for how long; responders answer within seconds.
MAX_SEARCHES: Final = 8
SEARCH_S: Final = 120.0


@dataclass(slots=True)
class Search:
    """One search of a circuit: how many more hits it takes, and which it has had."""

    visit: Visit
    left: int
    timer: Timer | None = None
    seen: set[bytes] = field(default_factory=set)


class Searches:
    """Those that one pivot has begun for its circuits; `say` says an answer, `refuse` that it is too much."""

    def __init__(
        self,
        own_id: bytes,
        keys: PivotKeys,
        seek: Seeks,
        chance: Chance,
        timers: Timers,
        gateway: Gateway | None,
        refusals: Refusals,
        say: Callable[[Visit, Body, float], None],
        refuse: Callable[[Visit, bytes, float], None],
    ) -> None:
        self._own_id, self._keys, self._seek, self._chance, self._timers = own_id, keys, seek, chance, timers
        self._desk = GatewayDesk(gateway, refusals)
        self._refusals, self._say, self._refuse = refusals, say, refuse
        self._posts = Replays()
        self._searches: dict[bytes, Search] = {}

    def __len__(self) -> int:
        return len(self._searches)

    def start(self, visit: Visit, said: InnerSeek, now: float) -> None:
        """Begin one."""
        if len(visit.searches) >= MAX_SEARCHES:
            self._refuse(visit, said.reply_key, now)
            return
        query_id = self._chance.getrandbits(128).to_bytes(16, "big")
        self._searches[query_id] = search = Search(visit, said.hits)
        visit.searches.add(query_id)
        if not self._seek.start(query_id, said.reply_key, said.text, said.kinds, now, visit.number):
            self._forget(query_id)
            self._refuse(visit, said.reply_key, now)
            return
        search.timer = self._timers.at(now + SEARCH_S, lambda when: self._forget(query_id))
        if said.gateway and not self._desk.ask(said.text, said.hits, self._telling(visit), now):
            self._say(visit, Fail(FailReason.NO_GATEWAY, said.reply_key), now)

    def _telling(self, visit: Visit) -> Callable[[Body, float], bool]:
        def tell(said: Body, when: float) -> bool:
            self._say(visit, said, when)
            return visit.is_open

        return tell

    def posted(self, sealed: bytes, now: float) -> None:
        """A one-shot to this pivot: a hit, which is passed on to who searches."""
        try:
            post = open_post(self._own_id, self._keys, self._posts, sealed, now)
            search = self._searches.get(post.query_id)
            if search is None:
                raise Violation(Refusal.HIT_LATE)
            digest = hashlib.sha256(post.sealed).digest()
            if digest in search.seen:
                raise Violation(Refusal.HIT_AGAIN)
        except Violation as violation:
            self._refusals.count(violation.reason)
            return
        search.seen.add(digest)
        search.left -= 1
        if not search.left:
            self._forget(post.query_id)
        self._say(search.visit, Hit(post.sealed), now)

    def _forget(self, query_id: bytes) -> None:
        search = self._searches.pop(query_id, None)
        if search is not None:
            search.visit.searches.discard(query_id)
            if search.timer is not None:
                search.timer.cancel()

    def gone(self, visit: Visit) -> None:
        """The circuit has ended."""
        for query_id in list(visit.searches):
            self._forget(query_id)
