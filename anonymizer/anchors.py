"""Anchors: how a block comes from who offers it to who wants it, neither of whom meets the other.

    provider --stem--> P_R (lists its token)  <--bridge-- P <--stem-- origin

The provider keeps a circuit to P_R, which lists tokens for it.  The origin tells its own pivot P where to ask and which token
to say; P opens a bridge to P_R and asks there for the keys that the route does not have.  P_R asks the provider, checks that
what comes is what was asked for and passes it on; P checks it again.  P_R knows neither end, P not the provider, the provider
not the origin; what passes is sealed blocks, which anyone may have who knows their key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from anonymizer.blocks import CHK, SSK, routing_in
from anonymizer.fields import Body
from anonymizer.inner import MAX_FETCH_KEYS, Fail, FailReason, FetchKeys, InnerBlock
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.seal import End, Opening
from anonymizer.timers import Timer, Timers
from gnutella.errors import RemoteViolation

#: Design section 3.17, and what one provider can make of it: the files of one hit take one token.
MAX_TOKENS: Final = 4_096
MAX_TOKENS_OF_CIRCUIT: Final = 256
TOKEN_S: Final = 1_800.0
#: Keys that wait for one provider: what four pivots may ask for at a time.
MAX_ASKED: Final = 256
#: A provider that owes blocks and has said nothing for so long is gone; origins wait for a key for 45 seconds and more.
SILENT_S: Final = 30.0

#: Told of a key: its block, or the reason why there is none; and the time.
Answer = Callable[[bytes, bytes | None, FailReason, float], None]


class Tokens:
    """Which circuit leads to who has anchored a token here."""

    def __init__(self, limit: int = MAX_TOKENS) -> None:
        self._limit = limit
        self._tokens: dict[bytes, tuple[int, float]] = {}
        self._of: dict[int, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def add(self, token: bytes, number: int, now: float) -> None:
        """List it, or list it anew; Violation(ANCHORS_FULL or ANCHOR_TAKEN), which costs no more than the token."""
        held = self._tokens.get(token)
        if held is not None and held[1] <= now:
            self._remove(token)
            held = None
        if held is not None and held[0] != number:
            raise Violation(Refusal.ANCHOR_TAKEN)
        if held is None and not self._has_room(number, now):
            raise Violation(Refusal.ANCHORS_FULL)
        self._tokens.pop(token, None)
        self._tokens[token] = number, now + TOKEN_S
        self._of.setdefault(number, set()).add(token)

    def find(self, token: bytes, now: float) -> int:
        """The number of its circuit; Violation(ANCHOR_UNKNOWN)."""
        number, until = self._tokens.get(token, (0, 0.0))
        if until <= now:
            raise Violation(Refusal.ANCHOR_UNKNOWN)
        return number

    def gone(self, number: int) -> None:
        """The circuit has ended."""
        for token in self._of.pop(number, set()):
            del self._tokens[token]

    def _has_room(self, number: int, now: float) -> bool:
        # The order is that of times, for each listing goes to the end.
        for token in list(self._ended(now)):
            self._remove(token)
        return len(self._tokens) < self._limit and len(self._of.get(number, ())) < MAX_TOKENS_OF_CIRCUIT

    def _ended(self, now: float) -> Iterator[bytes]:
        for token, (_, until) in self._tokens.items():
            if until > now:
                return
            yield token

    def _remove(self, token: bytes) -> None:
        number, _ = self._tokens.pop(token)
        self._of[number].discard(token)
        if not self._of[number]:
            del self._of[number]


class Source:
    """Somebody who is asked for blocks over a circuit: a provider, or on the way to one its pivot.

    `say` sends an instruction; `silent` is called when keys have waited for too long, and is to end it.
    """

    def __init__(
        self,
        say: Callable[[Body, float], None],
        silent: Callable[[float], None],
        timers: Timers,
        refusals: Refusals,
    ) -> None:
        self._say, self._silent, self._timers, self._refusals = say, silent, timers, refusals
        self._asked: dict[bytes, list[Answer]] = {}
        self._timer: Timer | None = None
        self._heard_at = 0.0
        self.is_gone = False

    def __len__(self) -> int:
        """Keys that wait."""
        return len(self._asked)

    def ask(self, keys: Sequence[bytes], answer: Answer, now: float) -> None:
        """`answer` is called once for each key, now or later."""
        new: list[bytes] = []
        for key in keys:
            if self.is_gone:
                answer(key, None, FailReason.PROVIDER_GONE, now)
            elif key in self._asked and len(self._asked[key]) < MAX_ASKED:
                self._asked[key].append(answer)
            elif key in self._asked or len(self._asked) >= MAX_ASKED:
                self._refusals.count(Refusal.PIVOT_BUSY)
                answer(key, None, FailReason.OVERLOAD, now)
            else:
                self._asked[key] = [answer]
                new.append(key)
        if new:
            if self._timer is None or not self._timer.is_active:
                self._heard_at = now
                self._timer = self._timers.at(now + SILENT_S, self._check)
            self._send(new, now)

    def block(self, said: InnerBlock, now: float) -> None:
        """A block came: it is that of a key that waits, or it is dropped."""
        try:
            key = bytes((said.type,)) + routing_in(said.type, said.block)
        except RemoteViolation:
            self._refusals.count(Refusal.BLOCK_BROKEN)
            return
        self._answer(key, said.block, FailReason.NOT_FOUND, now)

    def fail(self, said: Fail, now: float) -> None:
        """There is no block for this key, of either kind."""
        waiting = [bytes((kind,)) + said.routing for kind in (CHK, SSK)]
        for key in [key for key in waiting if key in self._asked] or waiting[:1]:
            self._answer(key, None, said.reason, now)

    def gone(self, now: float) -> None:
        """Its circuit has ended: whoever waits is told."""
        self.is_gone = True
        if self._timer is not None:
            self._timer.cancel()
        asked, self._asked = self._asked, {}
        for key, answers in asked.items():
            for answer in answers:
                answer(key, None, FailReason.PROVIDER_GONE, now)

    def _answer(self, key: bytes, block: bytes | None, reason: FailReason, now: float) -> None:
        answers = self._asked.pop(key, None)
        if answers is None:
            self._refusals.count(Refusal.BLOCK_UNASKED)
            return
        self._heard_at = now
        for answer in answers:
            answer(key, block, reason, now)

    def _send(self, keys: Sequence[bytes], now: float) -> None:
        for first in range(0, len(keys), MAX_FETCH_KEYS):
            self._say(FetchKeys(tuple(keys[first : first + MAX_FETCH_KEYS])), now)

    def _check(self, now: float) -> None:
        if not self._asked:
            return
        if now - self._heard_at >= SILENT_S:
            self._refusals.count(Refusal.PROVIDER_SILENT)
            self._silent(now)
        else:
            self._timer = self._timers.at(self._heard_at + SILENT_S, self._check)


class Bridge(Source):
    """The circuit from an origin's pivot to the pivot of a provider; keys wait until it is open."""

    def __init__(
        self,
        opening: Opening,
        say: Callable[[bytes, float], None],
        silent: Callable[[float], None],
        timers: Timers,
        refusals: Refusals,
    ) -> None:
        super().__init__(self._seal, silent, timers, refusals)
        self._opening, self._say_cell = opening, say
        self._end: End | None = None
        self._early: list[bytes] = []

    def heard(self, data: bytes, now: float) -> None:
        """A cell; Violation: the circuit has to be closed."""
        if self._end is None:
            self._end = self._opening.opened(data)
            early, self._early = self._early, []
            super()._send(early, now)
            return
        said = self._end.hear(data)
        if type(said) is InnerBlock:
            self.block(said, now)
        elif isinstance(said, Fail):
            self.fail(said, now)
        else:
            raise Violation(Refusal.BAD_INNER, "neither a block nor its lack")

    def _send(self, keys: Sequence[bytes], now: float) -> None:
        if self._end is None:
            self._early.extend(keys)
        else:
            super()._send(keys, now)

    def _seal(self, said: Body, now: float) -> None:
        assert self._end is not None
        self._say_cell(self._end.say(said), now)
