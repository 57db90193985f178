"""A5 on whole requests: a spy kills a circuit and times the next one, or sends data down and times when more are opened.

The requests are the program's channels and lanes over production stems in virtual time; pivots answer nothing, for nothing that
they say comes by the spies.  A request replaces a few lost circuits and then gives up, so a spy gets a few samples of each
request, and more only of several requests of one origin that it can link.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer.beat import QUIET_RATE
from anonymizer.channel import Channel, Channels, NextUp, Picks
from anonymizer.errors import AnonymityError
from anonymizer.fields import Body
from anonymizer.inner import Dummy, FailReason
from anonymizer.lanes import Job, Lanes
from anonymizer.seal import X25519_SUITE
from anonymizer.wire import Ciphertext, Close, CloseReason, Open, Phase, cell_of, parse
from gnutella.testing.anonymity.stem_net import Sighting, StemNet, StemNode
from gnutella.testing.anonymity.timing import (
    LARGE_NOISE,
    PATIENCE_S,
    NetTimers,
    Noise,
    Origins,
    Prober,
    Reaction,
    Timed,
)

#: Requests of one origin that follow each other, if the spies can link them.
LINKED: Final = 10
#: Seconds in which an opening has passed its stem.
STEM_S: Final = 6.0
#: Lanes of a large file.
MORE_LANES: Final = 2


class Pivots:
    """Who may be a pivot, as `KnownNodes` says it: everybody else but the guard, with one key for all."""

    def __init__(self, honest: list[StemNode], own: StemNode) -> None:
        self._others = [node for node in honest if node is not own and node.number != own.chosen[0]]
        self._key = (
            bytes((X25519_SUITE,))
            + X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
        )

    def pick(self, chance: Any, now: float, capabilities: int, without: set[bytes], without_networks: set[str]) -> Any:
        node = self._others[chance.randrange(len(self._others))]
        return SimpleNamespace(node_id=node.id, pivot_keys=[self._key])

    def network_of(self, descriptor: Any) -> str:
        return ""


class Quiet:
    """Whoever asks, and wants nothing: both an `Asker` and the owner of lanes."""

    def first(self, channel: Channel, now: float) -> Body:
        return Dummy()

    def opened(self, channel: Channel, now: float) -> None: ...

    def heard(self, channel: Channel, body: Body, now: float) -> None: ...

    def lost(self, channel: Channel, now: float) -> None: ...

    def failed(self, channel: Channel, error: AnonymityError, now: float) -> None: ...

    def has_room(self, channel: Channel, now: float) -> None: ...

    def done(self, job: Job, block: bytes, now: float) -> None: ...

    def gave_up(self, job: Job, reason: FailReason | None, now: float) -> None: ...

    def more(self, now: float) -> None: ...

    def stopped(self, error: AnonymityError, now: float) -> None: ...


class EagerChannel(Channel):
    """`reopen`: a lost circuit is replaced at once; or, as it used to be held back, after a virtual stem."""

    def _replace(self, now: float, was_open: bool) -> None:
        super()._replace(now, was_open)
        if self._timer is not None:
            self._stop_timer()
            self._timer = self._owner.timers.at(now + self._owner.hold(), self._reopen)


class EagerChannels(Channels):
    """Those of the broken twin."""

    def open(
        self,
        asker: Any,
        now: float,
        picks: Picks | None = None,
        *,
        rate: float = QUIET_RATE,
        next_up: NextUp = lambda channel, when: None,
    ) -> Channel:
        channel = EagerChannel(self, asker, Picks() if picks is None else picks, rate, next_up)
        channel.start(now)
        return channel


class EagerLanes(Lanes):
    """`reopen`: more lanes are opened when the data comes that says they are needed."""

    def want(self, count: int, now: float) -> None:
        self._widen(count - self._count, now)
        self._count = count


class Requester:
    """An origin with one request, whose pivots count as having answered at once."""

    def __init__(self, prober: Prober, node: StemNode) -> None:
        net, self.node = prober.net, node
        self.timers = NetTimers(net, node)
        kind = Channels if prober.origins is Origins.CLOCK else EagerChannels
        hold = (lambda: 0.0) if prober.origins is Origins.AT_ONCE else node.stem.hold
        pivots: Any = Pivots(prober.honest, node)
        new_key = lambda: X25519PrivateKey.from_private_bytes(net.rng.randbytes(32))  # noqa: E731
        self.channels = kind(node.id, node.stem, pivots, net.rng, self.timers, new_key, lambda: "guard", hold)
        self.lanes: Lanes | None = None
        self.seals: list[bytes] = []
        self._lay, self.channels.lay = self.channels.lay, self._laid  # type: ignore[method-assign]
        self._net = net
        node.on_heard = self._heard
        node.on_ended = self._ended

    def _laid(self, picks: Picks, first: bytes, now: float) -> Any:
        found = self._lay(picks, first, now)
        if found is None:
            return None
        number, opening = found
        self.seals.append(opening.sealed)
        self.timers.at(now, lambda when: self._answered(number))
        return number, Noise()

    def _answered(self, number: int) -> None:
        channel: Any = self.channels.channels.get(number)
        if channel is not None:
            channel._beat.end = Noise()
            channel._stop_timer()

    def _heard(self, number: int, data: bytes, now: float) -> None:
        self.channels.heard(number, data, now)
        if self.lanes is not None and len(data) == len(LARGE_NOISE):
            self.lanes.want(MORE_LANES, now)

    def _ended(self, number: int, reason: CloseReason, now: float) -> None:
        self.channels.ended(number, reason, now)

    def ask(self, reopens: int) -> None:
        """A request that replaces so many lost circuits."""
        self.channels.open(Quiet(), self._net.clock.now, Picks(reopens))
        self._net.wake(self.node)

    def fetch(self, is_eager: bool) -> None:
        """One that asks for more lanes when something large has come down."""
        self.lanes = (EagerLanes if is_eager else Lanes)(self.channels, Quiet(), 1)
        self.lanes.add([Job(self._net.rng.randbytes(32))], self._net.clock.now)
        self._net.wake(self.node)

    def stop(self) -> None:
        """Nothing more happens."""
        self.node.on_heard = lambda number, data, now: None
        self.node.on_ended = lambda number, reason, now: None
        for channel in list(self.channels.channels.values()):
            if channel._beat is not None:
                channel._beat.stop()
            channel._stop_timer()
            channel.is_closed = True


class RequestProber(Prober):
    """Spies that time whole requests: REOPEN kills circuits, LANES sends something large down."""

    def circuit(self, samples: int) -> Timed | None:
        origin = self.rng.choice(self.honest)
        requester = Requester(self, origin)
        try:
            return self._request(requester, origin, samples)
        finally:
            requester.stop()

    def _request(self, requester: Requester, origin: StemNode, samples: int) -> Timed | None:
        if self.reaction is Reaction.LANES:
            requester.fetch(self.origins is not Origins.CLOCK)
        else:
            requester.ask(samples)
        self.net.clock.run(self.net.clock.now + STEM_S)
        sighting = self.first(requester.seals[-1]) if requester.seals else None
        if sighting is None:
            return None
        timed = Timed(sighting.came == origin.number)
        for number in range(samples):
            if number:
                # What is to come of the one that ended, and of the one that has begun.
                self.net.clock.run(self.net.clock.now + STEM_S)
            found = self._next_open(sighting)
            if found is None:
                return None
            timed.delays.append(found.when - self._begun - 2 * self.net.delays[frozenset((found.to, found.came))])
            sighting = found
        return timed

    def _next_open(self, sighting: Sighting) -> Sighting | None:
        """The next stem that comes by the same edge after the spy has done what it does."""
        clock, self._begun, found = self.net.clock, self.net.clock.now, list[Sighting]()

        def up(seen: Sighting) -> None:
            if (seen.came, seen.to) != (sighting.came, sighting.to):
                return
            if isinstance(body := parse(seen.cell), Open) and body.phase is Phase.STEM:
                found.append(seen)

        self._up = up
        body = Ciphertext(LARGE_NOISE) if self.reaction is Reaction.LANES else Close(CloseReason.NOROUTE)
        self.net.inject(sighting.to, sighting.came, cell_of(body, sighting.cell.channel))
        while not found and clock.now < self._begun + PATIENCE_S and clock.step():
            pass
        self._up = lambda seen: None
        return found[0] if found else None


def measure(
    count: int,
    spy_share: float,
    circuits: int,
    samples: int,
    seed: int,
    reaction: Reaction = Reaction.REOPEN,
    origins: Origins = Origins.CLOCK,
) -> list[Timed]:
    """As `timing.measure`."""
    net = StemNet(count, seed, pivots_take=True)
    prober, found = RequestProber(net, spy_share, seed, reaction, origins), list[Timed]()
    while len(found) < circuits:
        timed = prober.circuit(samples)
        if timed is not None:
            found.append(timed)
    return found
