"""A5 on answers: a spy floods a search by one neighbour and times the post that comes back by it as a stem.

Providers are the program's responders, the flood its own, over production stems in virtual time.  The spy is the pivot of its
own searches.  Asking the same again tells nothing new, for the delay is the query's; what a spy can vary is the text, so each
sample is another text that the same file answers.
"""

from __future__ import annotations

import hashlib
from itertools import combinations
from types import SimpleNamespace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer.responder import Responder
from anonymizer.seal import X25519_SUITE
from anonymizer.seek import SeekFlood
from anonymizer.shares import AnonymousShare, ShareIndex
from anonymizer.uri import ChkUri
from anonymizer.wire import SEEK_TTL, Phase, Post, Seek, parse
from gnutella.testing.anonymity.stem_net import Sighting, StemNet, StemNode
from gnutella.testing.anonymity.timing import NetTimers, Origins, Prober, Reaction, Timed

#: The words of the file that is looked for: 6, and 15 pairs of them.
WORDS: Final = ("purple", "elephant", "marching", "through", "seven", "gardens")
TEXTS: Final = (*WORDS, *(" ".join(pair) for pair in combinations(WORDS, 2)))
#: An answer that takes longer does not come.
PATIENCE_S: Final = 15.0
#: Between two searches, so that no link's allowance is used up.
APART_S: Final = 2.0
STEM_S: Final = 6.0
_KEY: Final = X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()


class AnswersAtOnce(Responder):
    """`answer`: as soon as the search is here."""

    def delay(self, text: str, routing: bytes) -> float:
        return 0.0

    def apart(self, routing: bytes) -> float:
        return 0.0

    def _hold(self, what: bytes) -> float:
        return 0.0


class AnswerProber(Prober):
    """Spies who search."""

    def __init__(self, net: StemNet, spy_share: float, seed: int, origins: Origins) -> None:
        super().__init__(net, spy_share, seed, Reaction.POST, origins)
        self._floods = {node.id: self._flood(node) for node in net.nodes}
        self._answers: dict[bytes, Responder] = {}
        self._is_asked = False

    def _flood(self, node: StemNode) -> SeekFlood:
        timers = NetTimers(self.net, node)

        def send(to: bytes, seek: Seek) -> None:
            self._send(node.number, self.net.number_of[to], seek)

        def asked(seek: Seek, now: float) -> None:
            if node.id in self._answers:
                self._is_asked = True
                self._answers[node.id].asked(seek, now)

        flood = SeekFlood(node.id, self.net.rng, timers, send, asked)
        for other in sorted(node.links):
            flood.link_up(self.net.nodes[other].id, 0.0)
        return flood

    def _send(self, came: int, to: int, seek: Seek) -> None:
        delay = self.net.delays[frozenset((came, to))]
        self.net.clock.after(delay, self._deliver, self.net.nodes[came].id, self.net.nodes[to].id, seek)

    def _deliver(self, came: bytes, to: bytes, seek: Seek) -> None:
        # What is flooded after the only provider was asked changes nothing.
        if not self._is_asked:
            self._floods[to].receive(came, seek, self.net.clock.now)

    def _responder(self, node: StemNode) -> Responder:
        shares = ShareIndex()
        uri = ChkUri(self.rng.randbytes(32), self.rng.randbytes(32))
        shares.add(AnonymousShare(" ".join(WORDS) + ".ogg", 1_000_000, "audio/ogg", 1, uri, False))
        known: Any = SimpleNamespace(get=lambda pivot: SimpleNamespace(pivot_keys=[bytes((X25519_SUITE,)) + _KEY]))
        kind = Responder if self.origins is Origins.CLOCK else AnswersAtOnce
        return kind(
            node.id,
            shares,
            _Woken(self.net, node),
            known,
            self.net.rng,
            NetTimers(self.net, node),
            secret=self.rng.randbytes(32),
            round_trips=lambda: node.stem.round_trips,
        )

    def circuit(self, samples: int) -> Timed | None:
        """One provider; None unless its posts come by a spy on their stem."""
        provider, other = self.rng.sample(self.honest, 2)
        seal = self.net.seal()
        provider.open(other, seal)
        self.net.clock.run(self.net.clock.now + STEM_S)
        sighting = self.first(seal)
        if sighting is None:
            return None
        timed = Timed(sighting.came == provider.number)
        self._answers = {provider.id: self._responder(provider)}
        for text in self.rng.sample(TEXTS, samples):
            took = self._ask(sighting, text)
            if took is None:
                return None
            timed.delays.append(took)
        return timed

    def _ask(self, sighting: Sighting, text: str) -> float | None:
        clock, came = self.net.clock, list[float]()
        clock.run(clock.now + APART_S)
        begun = clock.now

        def up(seen: Sighting) -> None:
            if (seen.came, seen.to) != (sighting.came, sighting.to):
                return
            if isinstance(body := parse(seen.cell), Post) and body.phase is Phase.STEM:
                came.append(seen.when)

        self._up = up
        spy = self.net.nodes[sighting.to]
        query = hashlib.sha256(b"%d %r" % (spy.number, begun)).digest()[:16]
        seek = Seek(query, spy.id, _KEY, SEEK_TTL, text, 0)
        self._is_asked = False
        self._send(spy.number, sighting.came, seek)
        while not came and clock.now < begun + PATIENCE_S and clock.step():
            pass
        self._up = lambda seen: None
        own_link = 2 * self.net.delays[frozenset((sighting.to, sighting.came))]
        return came[0] - begun - own_link if came else None


class _Woken:
    """The stem of a node, which plans what it has to send when a post was given to it."""

    def __init__(self, net: StemNet, node: StemNode) -> None:
        self._net, self._node = net, node

    def post(self, pivot_id: bytes, sealed: bytes, now: float) -> bool:
        is_sent = self._node.stem.post(pivot_id, sealed, now)
        self._net.wake(self._node)
        return is_sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node.stem, name)


def measure(
    count: int,
    spy_share: float,
    circuits: int,
    samples: int,
    seed: int,
    reaction: Reaction = Reaction.POST,
    origins: Origins = Origins.CLOCK,
) -> list[Timed]:
    """As `timing.measure`."""
    prober, found = AnswerProber(StemNet(count, seed), spy_share, seed, origins), list[Timed]()
    while len(found) < circuits:
        timed = prober.circuit(samples)
        if timed is not None:
            found.append(timed)
    return found
