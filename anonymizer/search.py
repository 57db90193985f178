"""The searcher's side of anonymous searches: one circuit, one one-time key, and results that are not yet files.

The search goes sealed to a pivot, which floods it in its own name and passes on what comes back; the hits are sealed to a key
that is drawn for each circuit and forgotten with it.  A pivot that consents may ask the plain overlay besides; results of that
kind say so and have addresses instead of a key of the layer.  Nothing here fetches anything, and nothing here ever goes
another way than by the circuit: what is found outside the layer stays there until its user asks for it by name.

Pure: `now` is seconds since 1970, chance and keys come in.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer.channel import Channel, Channels, Picks
from anonymizer.descr import GATEWAY, PIVOT
from anonymizer.errors import AnonymityError, BadSearch, GatewayUnavailable, NoAnonymousRoute
from anonymizer.fields import Body
from anonymizer.hits import AnchorHint, HitContent, is_name, open_hit
from anonymizer.inner import MAX_HITS, Fail, FailReason, GateHit, Hit, InnerSeek
from anonymizer.pacing import exponential
from anonymizer.reasons import Refusal, Refusals, Violation
from anonymizer.seal import NewKey
from anonymizer.terms import normal
from anonymizer.timers import Timer
from anonymizer.uri import ChkUri
from gnutella.errors import RemoteViolation
from gnutella.protocol.urn import parse_urn

#: From the pivot's answer to the end of a search: four hops of the flood, the longest wait of a provider and two stems take
#: some 5 s, and stems that are slow or broken a few times that.
SEARCH_FLOOR_S: Final = 30.0
SEARCH_MEAN_S: Final = 10.0
#: Hits of the plain overlay that one search takes.
MAX_GATE_HITS: Final = 256
#: Names, anchors and places that are kept of one file.
MAX_NAMES: Final = 8
MAX_HINTS: Final = 12
MAX_PLACES: Final = 32
#: The level that searches here have (design section 3.4).
LEVEL: Final = "relay"


@dataclass(slots=True)
class SearchResult:
    """One file that was found, all that was said of it together; `number` counts from 1.

    `uri` is None and `is_gateway` true for what was found outside the layer; `places` are then where.  `name`, `size`, `mime`,
    `kinds` and hashes are what the first hit said: the file's manifest knows better.
    """

    number: int
    name: str
    size: int
    mime: str
    kinds: int
    uri: ChkUri | None
    sha1: bytes
    tth: bytes
    is_gateway: bool
    names: list[str]
    anchors: list[AnchorHint]
    places: list[tuple[str, int]]
    personas: list[bytes]
    #: Hits that told of it; one provider may be behind any number of them.
    hits: int = 1


class Search:
    """One search of this node's user; `start` it once.  See the module text.

    `found` is called for each result that is new or has changed, `done` once at the end: with what went wrong, or None.  A
    search that found something before its circuits were lost ends without an error.
    """

    def __init__(
        self,
        channels: Channels,
        new_key: NewKey,
        text: str,
        *,
        found: Callable[[SearchResult], None],
        done: Callable[[AnonymityError | None], None],
        kinds: int = 0,
        hits: int = MAX_HITS,
        gateway: bool = False,
    ) -> None:
        self.text = normal(text)
        if not self.text:
            raise BadSearch()
        self._channels, self._new_key = channels, new_key
        self._found, self._done = found, done
        self._kinds, self._wanted, self._gateway = kinds, min(max(hits, 1), MAX_HITS), gateway
        self._reply: X25519PrivateKey | None = None
        self._channel: Channel | None = None
        self._timer: Timer | None = None
        self._picks = Picks(capabilities=PIVOT | GATEWAY if gateway else PIVOT)
        self._results: dict[object, SearchResult] = {}
        self._seen: set[bytes] = set()
        self._gate_hits = 0
        self.refusals = Refusals()
        #: Nobody asks the plain overlay, although that was wanted.
        self.no_gateway = False
        self.is_done = False

    @property
    def level(self) -> str:
        return LEVEL

    @property
    def picks(self) -> Picks:
        """What it has used."""
        return self._picks

    @property
    def pivots(self) -> int:
        """Pivots that have seen the text."""
        return self._picks.count

    @property
    def results(self) -> list[SearchResult]:
        """In the order in which they came."""
        return list(self._results.values())

    def start(self, now: float) -> None:
        """NoAnonymousRoute if it cannot begin; if only gateways are lacking, `no_gateway` says so and the layer is searched."""
        try:
            self._channel = self._channels.open(self, now, self._picks)
        except NoAnonymousRoute:
            if not self._gateway:
                raise
            self._gateway, self.no_gateway = False, True
            self._picks.capabilities = PIVOT
            self._channel = self._channels.open(self, now, self._picks)

    def stop(self, now: float) -> None:
        """It is not wanted any more; `done` is called."""
        self._finish(None, now)

    # -- from the channel ------------------------------------------------------------------------------------------------

    def first(self, channel: Channel, now: float) -> Body:
        """The search, with a key that no other circuit had."""
        self._reply = self._new_key()
        public = self._reply.public_key().public_bytes_raw()
        return InnerSeek(self.text, self._kinds, self._wanted, public, self._gateway)

    def opened(self, channel: Channel, now: float) -> None:
        wait = SEARCH_FLOOR_S + exponential(self._channels.chance, SEARCH_MEAN_S)
        self._timer = self._channels.timers.at(now + wait, self._time_is_up)

    def heard(self, channel: Channel, body: Body, now: float) -> None:
        if isinstance(body, Hit):
            self._hit(body, now)
        elif isinstance(body, GateHit) and self._gateway:
            self._gate_hit(body)
        elif isinstance(body, Fail) and self._is_ours(body):
            self._refused(channel, body.reason, now)
        else:
            self.refusals.count(Refusal.BAD_INNER)
            channel.distrust(now)

    def _refused(self, channel: Channel, reason: FailReason, now: float) -> None:
        if reason is FailReason.NO_GATEWAY and self._gateway:
            self.no_gateway = True
        else:
            channel.distrust(now)

    def lost(self, channel: Channel, now: float) -> None:
        self._stop_timer()
        self._reply = None

    def failed(self, channel: Channel, error: AnonymityError, now: float) -> None:
        self._finish(None if self._results else error, now)

    def has_room(self, channel: Channel, now: float) -> None:
        """Nothing waits for it."""

    # -- hits ------------------------------------------------------------------------------------------------------------

    def _hit(self, said: Hit, now: float) -> None:
        if self._reply is None or said.sealed in self._seen or len(self._seen) >= self._wanted:
            self.refusals.count(Refusal.HITS_MANY)
            return
        self._seen.add(said.sealed)
        try:
            content = open_hit(self._reply, said.sealed)
        except Violation as violation:
            self.refusals.count(violation.reason)
        else:
            self._add(content)
        if len(self._seen) >= self._wanted and not self._gateway:
            self._finish(None, now)

    def _add(self, content: HitContent) -> None:
        key = content.routing, content.key
        result = self._results.get(key)
        if result is None:
            result = self._results[key] = SearchResult(
                len(self._results) + 1,
                content.name,
                content.size,
                content.mime,
                content.kinds,
                content.uri,
                content.sha1,
                content.tth,
                False,
                [],
                [],
                [],
                [],
                0,
            )
        result.hits += 1
        _keep(result.names, content.name, MAX_NAMES)
        for hint in content.hints:
            _keep(result.anchors, hint, MAX_HINTS)
        if content.signer is not None:
            _keep(result.personas, content.signer, MAX_NAMES)
        self._found(result)

    def _gate_hit(self, said: GateHit) -> None:
        if self._gate_hits >= MAX_GATE_HITS:
            self.refusals.count(Refusal.HITS_MANY)
            return
        self._gate_hits += 1
        try:
            urn = parse_urn(said.urn)
            sha1, tth = urn.sha1 or b"", urn.tth or b""
        except RemoteViolation:
            sha1 = tth = b""
        if not is_name(said.name) or not _is_ip(said.host) or not (sha1 or tth):
            self.refusals.count(Refusal.HIT_BROKEN)
            return
        key = sha1, tth, said.size
        result = self._results.get(key)
        if result is None:
            result = self._results[key] = SearchResult(
                len(self._results) + 1, said.name, said.size, "", 0, None, sha1, tth, True, [], [], [], [], 0
            )
        result.hits += 1
        _keep(result.names, said.name, MAX_NAMES)
        _keep(result.places, (said.host, said.port), MAX_PLACES)
        self._found(result)

    def _is_ours(self, said: Fail) -> bool:
        return self._reply is not None and said.routing == self._reply.public_key().public_bytes_raw()

    # -- the end ---------------------------------------------------------------------------------------------------------

    def _time_is_up(self, now: float) -> None:
        error = None
        if self.no_gateway and not self._results:
            error = GatewayUnavailable("nothing was found in the layer, and no pivot asks outside of it for us")
        self._finish(error, now)

    def _finish(self, error: AnonymityError | None, now: float) -> None:
        if self.is_done:
            return
        self.is_done = True
        self._stop_timer()
        self._reply = None
        if self._channel is not None and not self._channel.is_closed:
            self._channel.close(now)
        self._done(error)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


T = TypeVar("T")


def _keep(items: list[T], item: T, limit: int) -> None:
    if item not in items and len(items) < limit:
        items.append(item)


def _is_ip(host: str) -> bool:
    """Whether it is an address, and not a name that somebody would look up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
