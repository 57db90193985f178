"""The origin's end of circuits: each to a pivot that nobody could foresee, and another one when it is lost.

A pivot is picked evenly from those that are known for long enough and from enough sides: never this node, the guard or one of
the guard's network, and within one request never one that it had before, nor two of one network.  A circuit that does not
answer in time, that ends, or whose pivot says what cannot be, is opened again by the same guard to another pivot.  A request
may do that MAX_REOPENS times in all; then it ends with PivotTimeout, for whoever kills circuits draws pivots with each of them.

What is said leaves when the clock of its circuit says so (anonymizer.beat), whatever came down.  What this end thinks of a
circuit is told to nobody: it always ends with the same reason, a random time after it was needed last.

Pure: `now` is seconds since 1970, chance and keys come in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from anonymizer import inner
from anonymizer.beat import QUIET_RATE, TURN_MEAN_S, Beat
from anonymizer.descr import PIVOT, Descriptor
from anonymizer.errors import AnonymityError, NoAnonymousRoute, PivotTimeout
from anonymizer.fields import Body
from anonymizer.known import KnownNodes
from anonymizer.pacing import Chance, VirtualStem, exponential
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.seal import MAX_FIRST, X25519_SUITE, NewKey, Opening
from anonymizer.seams import Circuits
from anonymizer.timers import Timer, Timers
from anonymizer.wire import CloseReason
from gnutella.errors import LocalMisuse

#: How long a pivot may take to answer a seal (design section 3.18): this, an exponential time, and a virtual stem.
OPENED_FLOOR_S: Final = 5.0
OPENED_MEAN_S: Final = 20.0
#: Circuits that one request opens in place of lost ones (design section 4.4, A11).
MAX_REOPENS: Final = 3
#: One that lived so long, half of what any may, was not killed to see what we do next; it is replaced without being counted.
OLD_S: Final = 1_800.0
#: While the guard is away it is looked for at such times, and for so long.  The second one serves after ten minutes and then an
#: exponential time with a mean of five (guards.PATIENCE_S, CHECK_S): it is ready before this with a chance of .98.
GUARD_WAIT_MEAN_S: Final = 20.0
GUARD_WAIT_S: Final = 1_800.0
#: A request that begins while the guard is away waits as long; if none has ever carried anything only so long, for they come
#: with the first links or not at all.
FIRST_GUARD_WAIT_S: Final = 60.0
#: Circuits that are needed no more and go on for a while; beyond these the oldest ends.
MAX_RESTING: Final = 64
#: Picks that may turn out to be of no use (a key that is none) before we give up.
_MAX_PICKS: Final = 16


class Asker(Protocol):
    """Who has a channel, and is told what happens on it."""

    def first(self, channel: Channel, now: float) -> Body:
        """The instruction that goes with the seal, at most MAX_FIRST bytes; asked for each circuit that is opened."""

    def opened(self, channel: Channel, now: float) -> None:
        """The pivot answered: `say` may be used."""

    def heard(self, channel: Channel, body: Body, now: float) -> None:
        """The pivot said it."""

    def lost(self, channel: Channel, now: float) -> None:
        """The circuit is gone, with all that was not answered; another is being opened, `first` or `failed` comes next."""

    def failed(self, channel: Channel, error: AnonymityError, now: float) -> None:
        """There will be no other; the channel is closed."""

    def has_room(self, channel: Channel, now: float) -> None:
        """`room` has grown from none."""


#: What a channel may say when its clock lets it and nothing waits; None: nothing.
NextUp = Callable[["Channel", float], Body | None]


class Picks:
    """What one request has used: pivots, their networks, and how often it may still replace a lost circuit.

    `capabilities` are what its pivots need, `last` is the id of the one that was picked last.
    """

    __slots__ = ("capabilities", "count", "last", "networks", "reopens", "used")

    def __init__(self, reopens: int = MAX_REOPENS, capabilities: int = PIVOT) -> None:
        self.capabilities = capabilities
        self.last = b""
        self.used: set[bytes] = set()
        self.networks: set[str] = set()
        self.reopens = reopens
        #: Circuits to pivots that were opened.
        self.count = 0

    def take(self, node_id: bytes, network: str) -> None:
        """This pivot is used now."""
        self.used.add(node_id)
        self.last = node_id
        self.networks.add(network)
        self.count += 1

    def again(self) -> None:
        """All have been used: any may be used again."""
        self.used.clear()
        self.networks.clear()


class Channel:
    """One circuit of ours at a time, to whichever pivot it has just now; made by `Channels.open`."""

    def __init__(self, owner: Channels, asker: Asker, picks: Picks, rate: float, next_up: NextUp) -> None:
        self._owner, self._asker, self._picks, self._rate, self._next_up = owner, asker, picks, rate, next_up
        self._beat: Beat | None = None
        self._timer: Timer | None = None
        self._opened_at = 0.0
        self._no_guard_since: float | None = None
        self._patience_s = GUARD_WAIT_S
        self.is_closed = False

    @property
    def is_open(self) -> bool:
        """The pivot has answered and the circuit has not ended."""
        return self._beat is not None and self._beat.end is not None

    @property
    def room(self) -> int:
        """Large cells that may be said now; small ones may be said at any time."""
        return self._beat.room if self._beat is not None and self.is_open else 0

    def say(self, body: Body, now: float) -> None:
        """Tell the pivot, when the circuit's clock lets it; LocalMisuse unless it is open."""
        if self._beat is None or not self.is_open:
            raise LocalMisuse("said on a circuit that is not open")
        self._beat.say(body, now)

    def close(self, now: float) -> None:
        """It is needed no more; the asker hears nothing after this."""
        self.is_closed = True
        self._let_go(now)

    def start(self, now: float) -> None:
        """Open the first circuit, or wait for the guard; NoAnonymousRoute if there is nobody to wait for."""
        if self._try_open(now):
            return
        self._patience_s = self._owner.patience()
        if not self._patience_s:
            raise NoAnonymousRoute(
                "no relay or no pivot takes a request of ours", "wait until more nodes have been known for a day"
            )
        self._no_guard(now)

    def _try_open(self, now: float) -> bool:
        first = inner.encode(self._asker.first(self, now), MAX_FIRST)
        found = self._owner.lay(self._picks, first, now)
        if found is None:
            return False
        number, opening = found
        owner = self._owner
        self._beat = Beat(
            owner.circuits,
            owner.chance,
            owner.timers,
            number,
            opening,
            self._rate,
            self._has_room,
            lambda when: self._next_up(self, when),
            now,
        )
        owner.channels[number] = self
        self._no_guard_since, self._opened_at, self._patience_s = None, now, GUARD_WAIT_S
        wait = OPENED_FLOOR_S + exponential(self._owner.chance, OPENED_MEAN_S) + self._owner.hold()
        self._timer = self._owner.timers.at(now + wait, self._expired)
        return True

    # -- what happens to it ----------------------------------------------------------------------------------------------

    def hear(self, data: bytes, now: float) -> None:
        """A cell came down."""
        if self._beat is None:
            return
        try:
            body = self._beat.hear(data)
        except Violation as violation:
            self._owner.refusals.count(violation.reason)
            self.distrust(now)
            return
        if body is not None:
            self._asker.heard(self, body, now)
            return
        self._stop_timer()
        self._owner.opened += 1
        self._asker.opened(self, now)

    def distrust(self, now: float) -> None:
        """The pivot lies or is silent: go to another.  To everybody else this looks like any circuit that is done."""
        self._replace(now, self.is_open)

    def ended(self, now: float) -> None:
        """The circuit was closed, for whatever reason."""
        if self._beat is not None:
            self._owner.channels.pop(self._beat.number, None)
            self._beat.stop()
        was_open, self._beat = self.is_open, None
        self._replace(now, was_open)

    def has_room(self, now: float) -> None:
        """The window of the circuit takes cells again."""
        if self.room:
            self._has_room(now)

    def _has_room(self, now: float) -> None:
        if self.is_open:
            self._asker.has_room(self, now)

    def _expired(self, now: float) -> None:
        self._replace(now, False)

    def _replace(self, now: float, was_open: bool) -> None:
        if self.is_closed:
            return
        if not was_open:
            self._owner.unanswered += 1
        is_old = was_open and now - self._opened_at >= OLD_S
        self._let_go(now)
        if not is_old and self._picks.reopens == 0:
            self._fail(PivotTimeout("the far ends of our circuits do not answer", "try again later"), now)
            return
        self._picks.reopens -= not is_old
        self._timer = self._owner.timers.at(now + self._owner.turn(), self._reopen)
        self._asker.lost(self, now)

    def _reopen(self, now: float) -> None:
        if self._try_open(now):
            return
        self._no_guard(now)

    def _no_guard(self, now: float) -> None:
        if self._no_guard_since is None:
            self._no_guard_since = now
        if now - self._no_guard_since >= self._patience_s:
            self._fail(NoAnonymousRoute("the guard is away, or no pivot is left"), now)
            return
        wait = exponential(self._owner.chance, GUARD_WAIT_MEAN_S)
        self._timer = self._owner.timers.at(now + wait, self._reopen)

    def _fail(self, error: AnonymityError, now: float) -> None:
        self.is_closed = True
        self._asker.failed(self, error, now)

    def _let_go(self, now: float) -> None:
        self._stop_timer()
        beat, self._beat = self._beat, None
        if beat is not None:
            self._owner.channels.pop(beat.number, None)
            self._owner.rest(beat, now)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Channels:
    """All channels of this node.

    `guard_network` says what KnownNodes.network_of says of the guard (None: there is no guard), `has_guards` whether one is
    listed that may come back (True), or may come to be (False; None: none is); `hold` draws the seconds by which a reaction of
    ours is to be later, as Stem does for cells.
    """

    def __init__(
        self,
        own_id: bytes,
        circuits: Circuits,
        known: KnownNodes,
        chance: Chance,
        timers: Timers,
        new_key: NewKey,
        guard_network: Callable[[], str | None],
        hold: Callable[[], float] | None = None,
        has_guards: Callable[[], bool | None] = lambda: None,
    ) -> None:
        self._own_id, self._known, self._new_key = own_id, known, new_key
        self._guard_network, self._has_guards = guard_network, has_guards
        self.circuits, self.chance, self.timers = circuits, chance, timers
        self.hold = hold or (lambda: VirtualStem(chance, [], False).hold(chance))
        self.channels: dict[int, Channel] = {}
        self._resting: dict[int, Beat] = {}
        self.refusals = Refusals()
        #: Circuits that a pivot answered, and those that ended before: many of these cast a doubt on the guard.
        self.opened = 0
        self.unanswered = 0

    def open(
        self,
        asker: Asker,
        now: float,
        picks: Picks | None = None,
        *,
        rate: float = QUIET_RATE,
        next_up: NextUp = lambda channel, when: None,
    ) -> Channel:
        """A channel for the request that has these picks; NoAnonymousRoute if no circuit can be opened.

        `rate` is how many cells a second its circuits send, and `next_up` is asked when nothing waits; see `beat`.
        """
        channel = Channel(self, asker, Picks() if picks is None else picks, rate, next_up)
        channel.start(now)
        return channel

    def patience(self) -> float:
        """For how long a request may wait for its first circuit: not at all if it is not the guard that is missing."""
        has_guards = None if self._guard_network() is not None else self._has_guards()
        if has_guards is None:
            return 0.0
        return GUARD_WAIT_S if has_guards else FIRST_GUARD_WAIT_S

    def turn(self) -> float:
        """Seconds until something may begin that follows from what came down: it says nothing of when that was."""
        return exponential(self.chance, TURN_MEAN_S) + self.hold()

    def rest(self, beat: Beat, now: float) -> None:
        """The circuit of that clock is needed no more, and ends a while later."""
        while len(self._resting) >= MAX_RESTING:
            oldest = self._resting.pop(next(iter(self._resting)))
            oldest.stop()
            self.circuits.close(oldest.number, CloseReason.DONE, now)
        self._resting[beat.number] = beat
        beat.rest(lambda when: self._forget(beat), now)

    def _forget(self, beat: Beat) -> None:
        self._resting.pop(beat.number, None)

    # -- from the stem ---------------------------------------------------------------------------------------------------

    def heard(self, number: int, data: bytes, now: float) -> bool:
        """A cell for own circuit `number`; False: it is none of these."""
        channel = self.channels.get(number)
        if channel is not None:
            channel.hear(data, now)
        return channel is not None or number in self._resting

    def ended(self, number: int, reason: CloseReason, now: float) -> bool:
        """It is closed; False: it is none of these.  The reason makes no difference, for relays may write any."""
        channel = self.channels.get(number)
        if channel is not None:
            channel.ended(now)
        if (beat := self._resting.pop(number, None)) is not None:
            beat.stop()
        return channel is not None or beat is not None

    def has_room(self, number: int, now: float) -> None:
        """Its window takes cells again."""
        channel = self.channels.get(number)
        if channel is not None:
            channel.has_room(now)

    # -- to the stem -----------------------------------------------------------------------------------------------------

    def lay(self, picks: Picks, first: bytes, now: float) -> tuple[int, Opening] | None:
        """A circuit to a pivot that these picks have not had; None: there is no such pivot, no guard, or no room."""
        guard_network = self._guard_network()
        if guard_network is None:
            return None
        unusable: set[bytes] = set()
        for _ in range(_MAX_PICKS):
            pivot = self._pick(picks, unusable, guard_network, now)
            if pivot is None and picks.used and picks.reopens < MAX_REOPENS:
                # Lost circuits of a set so small that each of it was asked once: any of it again, not none.
                picks.again()
                pivot = self._pick(picks, unusable, guard_network, now)
            if pivot is None:
                return None
            opening = self._seal(pivot, first, now)
            number = None if opening is None else self.circuits.open(pivot.node_id, opening.sealed, now)
            if opening is not None and number is not None:
                picks.take(pivot.node_id, self._known.network_of(pivot))
                return number, opening
            if opening is not None:
                return None
            unusable.add(pivot.node_id)
        return None

    def _pick(self, picks: Picks, unusable: set[bytes], guard_network: str, now: float) -> Descriptor | None:
        pivot = self._known.pick(
            self.chance,
            now,
            picks.capabilities,
            without=picks.used | unusable,
            without_networks=picks.networks | {guard_network},
        )
        if pivot is not None and pivot.node_id == self._own_id:
            raise Violation(Refusal.OWN_PIVOT)
        return pivot

    def _seal(self, pivot: Descriptor, first: bytes, now: float) -> Opening | None:
        """None: it has no key that we speak."""
        keys = (key[1:] for key in pivot.pivot_keys if key[0] == X25519_SUITE)
        secret = self.chance.getrandbits(256).to_bytes(32, "big")
        try:
            return Opening(pivot.node_id, next(keys, b""), first, now, secret, self._new_key())
        except LocalMisuse:
            return None
