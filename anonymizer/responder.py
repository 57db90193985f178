"""The provider's side of anonymous searches: when and how this node answers with what it offers.

An answer waits a time that depends on nothing but the node's secret, the text and the file (exponential, mean 300 ms, at most
1.5 s), so asking again tells nothing new; a longer one that depends on the file and not on the text, for the mean over many
texts is that of none; then as long as if it came from a node further behind, one and the same for each file, with fresh delays
at each hop.  It leaves as a post by the guard: the pivot learns that somebody answered, the nodes on
the way that something goes to that pivot.  A search of this node's own user is answered like any other.

This node may be the pivot itself.  Then there is no way to go, but the answer takes as long as one.
"""

from __future__ import annotations

import hmac
import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anonymizer.hits import MAX_ANCHORS, AnchorHint, seal_hit
from anonymizer.known import KnownNodes
from anonymizer.pacing import Chance, VirtualStem, exponential
from anonymizer.posts import seal_post
from anonymizer.rates import Bucket
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.seal import X25519_SUITE
from anonymizer.seams import Circuits
from anonymizer.shares import MAX_SHARES, AnonymousShare, ShareIndex
from anonymizer.terms import normal
from anonymizer.timers import Timers
from anonymizer.wire import Seek
from gnutella.errors import LocalMisuse

#: The keyed delay (design section 3.18).
DELAY_MEAN_S: Final = 0.3
MAX_DELAY_S: Final = 1.5
#: The delay that is the file's, whatever is asked: the sum of so many exponential times of that mean.  It hides some tenths of
#: a second, the way from a node further behind: without it a spy who asks with six texts gains .06 over guessing (A5).
APART_MEAN_S: Final = 0.8
APART_STEPS: Final = 2
#: Files of ours that answer one search: the searcher takes 64 from all.
MAX_ANSWERS: Final = 8
#: Files that match which are looked at, those that are offered for longest: the answers are drawn from them.
MAX_MATCHES: Final = 256
#: Ways that answers seem to come, two for each file of a full index.
MAX_BEHIND: Final = 2 * MAX_SHARES
#: Answers that wait at a time, and how many leave a second: a tenth of what the links may ask is answered at all times.
MAX_WAITING: Final = 256
ANSWER_RATE: Final = 6.0
ANSWER_BURST: Final = 48


class KeyedChance:
    """Chance that is the same each time for who knows the key: HMAC-SHA256 over a counter."""

    __slots__ = ("_count", "_secret", "_what")

    def __init__(self, secret: bytes, what: bytes) -> None:
        self._secret, self._what, self._count = secret, what, 0

    def getrandbits(self, k: int, /) -> int:
        """At most 256 bits."""
        if not 0 < k <= 256:
            raise LocalMisuse(f"{k} bits of one hash")
        self._count += 1
        digest = hmac.digest(self._secret, self._count.to_bytes(8, "big") + self._what, "sha256")
        return int.from_bytes(digest, "big") >> (256 - k)

    def random(self) -> float:
        return self.getrandbits(53) / (1 << 53)

    def randrange(self, stop: int, /) -> int:
        return self.getrandbits(128) % stop


class Responder:
    """See the module text.

    `secret` is the node's own and never told; `round_trips` are those of own links (Stem's); `anchors` knows where a file
    that is anchored can be met now.  `own_keys` are this node's pivot keys as its descriptor has them and `here` takes a post
    to this node itself, both for searches that it is the pivot of.
    """

    def __init__(
        self,
        own_id: bytes,
        shares: ShareIndex,
        circuits: Circuits,
        known: KnownNodes,
        chance: Chance,
        timers: Timers,
        *,
        secret: bytes,
        round_trips: Callable[[], list[float]] = list,
        anchors: Callable[[bytes, float], tuple[AnchorHint, ...]] = lambda routing, now: (),
        own_keys: Callable[[], tuple[bytes, ...]] = tuple,
        here: Callable[[bytes, float], None] = lambda sealed, now: None,
        persona: Ed25519PrivateKey | None = None,
    ) -> None:
        self._own_id, self._shares, self._circuits, self._known = own_id, shares, circuits, known
        self._chance, self._timers, self._secret = chance, timers, secret
        self._round_trips, self._anchors = round_trips, anchors
        self._own_keys, self._here, self._persona = own_keys, here, persona
        self._bucket = Bucket(ANSWER_RATE, ANSWER_BURST)
        self._behind: OrderedDict[bytes, VirtualStem] = OrderedDict()
        self.waiting = 0
        #: Answers that left.
        self.answered = 0
        self.refusals = Refusals()

    def asked(self, seek: Seek, now: float) -> None:
        """A search came by, or began here: answer later with what matches."""
        text = normal(seek.text)
        matches = self._shares.search(text, seek.kinds, MAX_MATCHES)
        found = [(self.delay(text, share.uri.routing), share) for share in matches]
        found.sort(key=lambda row: (row[0], row[1].uri.routing))
        if len(found) > MAX_ANSWERS:
            self.refusals.count(Refusal.ANSWERS_MANY, len(found) - MAX_ANSWERS)
        for delay, share in found[:MAX_ANSWERS]:
            if self.waiting >= MAX_WAITING or not self._bucket.take(now):
                self.refusals.count(Refusal.ANSWERS_MANY)
                continue
            self.waiting += 1
            wait = delay + self.apart(share.uri.routing) + self._hold(share.uri.routing)
            if seek.pivot_id == self._own_id:
                wait += self._hold(share.uri.routing + b"way")
            self._timers.at(now + wait, partial(self._answer, seek, share))

    def delay(self, text: str, routing: bytes) -> float:
        """The part of the wait that asking again does not change."""
        data = text.encode("utf-8", "replace")
        chance = KeyedChance(self._secret, b"arl1-answer" + len(data).to_bytes(2, "big") + data + routing)
        return min(MAX_DELAY_S, -DELAY_MEAN_S * math.log(1.0 - chance.random()))

    def apart(self, routing: bytes) -> float:
        """The part of the wait that asking otherwise does not change."""
        chance = KeyedChance(self._secret, b"arl1-apart" + routing)
        return sum(exponential(chance, APART_MEAN_S) for _ in range(APART_STEPS))

    def _hold(self, what: bytes) -> float:
        """The way that the answer would have from further behind: the same each time, but for the delays at its hops."""
        stem = self._behind.get(what)
        if stem is None:
            trips = self._round_trips()
            stem = VirtualStem(KeyedChance(self._secret, b"arl1-behind" + what), trips, False)
            if trips:
                # Kept, since later measurements would make it another one, and the mean over many that of none.
                self._behind[what] = stem
                if len(self._behind) > MAX_BEHIND:
                    self._behind.popitem(last=False)
        return stem.hold(self._chance)

    def _answer(self, seek: Seek, share: AnonymousShare, now: float) -> None:
        self.waiting -= 1
        if self._shares.get(share.uri.routing) != share:
            return
        sealed = self._seal(seek, share, now)
        if sealed is None:
            return
        if seek.pivot_id == self._own_id:
            self._here(sealed, now)
        elif not self._circuits.post(seek.pivot_id, sealed, now):
            self.refusals.count(Refusal.ANSWER_NO_ROUTE)
            return
        self.answered += 1

    def _seal(self, seek: Seek, share: AnonymousShare, now: float) -> bytes | None:
        content = share.hit()
        if share.is_anchored:
            hints = self._anchors(share.uri.routing, now)
            if not hints:
                self.refusals.count(Refusal.ANSWER_NO_ANCHOR)
                return None
            content = content.with_anchors(hints[:MAX_ANCHORS])
        if self._persona is not None:
            content = content.signed(self._persona)
        try:
            hit = seal_hit(seek.reply_key, content)
            return seal_post(seek.pivot_id, self._key_of(seek.pivot_id), seek.query_id, hit, now)
        except Violation as violation:
            self.refusals.count(violation.reason)
        except LocalMisuse:
            self.refusals.count(Refusal.ANSWER_NO_PIVOT)
        return None

    def _key_of(self, pivot_id: bytes) -> bytes:
        """The newest key of the pivot that we can seal to; none is empty."""
        descriptor = self._known.get(pivot_id)
        keys = self._own_keys() if pivot_id == self._own_id else () if descriptor is None else descriptor.pivot_keys
        return next((key[1:] for key in keys if key[0] == X25519_SUITE), b"")
