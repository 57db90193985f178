"""The origin's side of the relay layer, joined: what a user may ask for, and under which conditions it is asked at all.

    get, put                   files, by content keys (anonymizer.transfer)
    read, write, publish       signed documents, keywords, editions (anonymizer.documents)
    admit, channels            for searches, which have a room of their own (anonymizer.search)

Nothing is sent while too few others are known, unless the user has accepted that number; only the level `relay` exists, and
whoever asks for another one is refused.  There is no other way by which this side could ask: it has own circuits and nothing
else.

Pure: `now` is seconds since 1970, chance and keys come in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from anonymizer.channel import Channels, Picks
from anonymizer.client_cache import ClientCache
from anonymizer.decoys import Decoys
from anonymizer.documents import Documents
from anonymizer.errors import MIN_SET, AnonymityError, AnonymitySetTooSmall, ClockSkew, LevelRefused
from anonymizer.inner import Attach
from anonymizer.known import KnownNodes
from anonymizer.meter import Meter, Metered, Reading
from anonymizer.pacing import Chance
from anonymizer.seal import WINDOW_MIN, NewKey
from anonymizer.seams import Circuits
from anonymizer.timers import Timers
from anonymizer.transfer import Get, Progress, Put
from anonymizer.uri import ChkUri
from anonymizer.wire import CloseReason

#: The only level that exists.
RELAY: Final = "relay"
#: Fewer relay links than this are too few (design section 3.13).
MIN_LINKS: Final = 3
#: Beyond this, pivots refuse our seals (seal.WINDOW_MIN).
MAX_SKEW_S: Final = 60.0 * WINDOW_MIN
#: A guard is doubted if more of its circuits than this share, of at least so many, ended before a pivot answered (section 4.6).
DOUBT_SHARE: Final = 0.3
DOUBT_FROM: Final = 20
_EXPIRE_EVERY_S: Final = 60.0

Finished = Callable[[AnonymityError | None, float], None]


class Client:
    """One node as origin.

    `guard_network` says what KnownNodes.network_of says of the guard, None without one; `hold` draws a virtual stem's delay
    (Stem.hold), for `has_guards` see Channels; `links` counts open relay links; `edge_age` is how long there has been the edge
    to the guard; `clock_skew` says by how many seconds the clocks of others are ahead of ours; `numbers` are the rows that an
    earlier run kept of `documents`.
    """

    def __init__(
        self,
        own_id: bytes,
        circuits: Circuits,
        known: KnownNodes,
        cache: ClientCache,
        chance: Chance,
        timers: Timers,
        new_key: NewKey,
        guard_network: Callable[[], str | None],
        *,
        hold: Callable[[], float] | None = None,
        has_guards: Callable[[], bool | None] = lambda: None,
        links: Callable[[], int] = lambda: MIN_LINKS,
        edge_age: Callable[[float], float | None] = lambda now: None,
        clock_skew: Callable[[], float | None] = lambda: None,
        numbers: dict[bytes, int] | None = None,
    ) -> None:
        self._known, self._cache, self._chance, self._timers = known, cache, chance, timers
        self._links, self._edge_age, self._clock_skew = links, edge_age, clock_skew
        self.meter = Meter()
        metered = Metered(circuits, self.meter)
        self.channels = Channels(own_id, metered, known, chance, timers, new_key, guard_network, hold, has_guards)
        self.documents = Documents(self.channels, numbers)
        self.decoys = Decoys(self.channels)

    def start(self, now: float) -> None:
        """From now on there are decoys, and what the cache has had for too long is forgotten."""
        self.decoys.start(now)
        self._expire(now)

    def _expire(self, now: float) -> None:
        self._cache.expire(now)
        self._timers.at(now + _EXPIRE_EVERY_S, self._expire)

    # -- from the stem ---------------------------------------------------------------------------------------------------

    def heard(self, number: int, data: bytes, now: float) -> bool:
        """A cell came for own circuit `number`; False: it is none of ours."""
        return self.channels.heard(number, data, now)

    def ended(self, number: int, reason: CloseReason, now: float) -> bool:
        """An own circuit was closed; False: it is none of ours."""
        return self.channels.ended(number, reason, now)

    def has_room(self, number: int, now: float) -> None:
        """The window of an own circuit takes cells again."""
        self.channels.has_room(number, now)

    # -- conditions ------------------------------------------------------------------------------------------------------

    def set_size(self, now: float) -> int:
        """Other nodes that are known for long enough and from enough sides, one of each network."""
        return len(self._known.eligible(now))

    def admit(self, level: str, accept_small_set: int | None, now: float) -> None:
        """LevelRefused, AnonymitySetTooSmall with what there is, or ClockSkew.

        `accept_small_set` is the smallest number of other nodes that the user accepts instead of MIN_SET; then one link is
        enough, if it leads to a guard.
        """
        if level != RELAY:
            raise LevelRefused(f"there is no level but {RELAY}, and no other is taken in its place")
        nodes, links = self.set_size(now), self._links()
        is_enough = nodes >= MIN_SET and links >= MIN_LINKS
        is_accepted = accept_small_set is not None and nodes >= max(1, accept_small_set) and links > 0
        if not is_enough and not is_accepted:
            raise AnonymitySetTooSmall(nodes, links)
        skew = self._clock_skew()
        if skew is not None and abs(skew) >= MAX_SKEW_S:
            side = "behind" if skew > 0 else "ahead of"
            raise ClockSkew(
                f"this clock is {abs(skew) / 60:.0f} minutes {side} those of the other nodes",
                "set it: pivots refuse what seems to be older or younger than 5 minutes",
            )

    def reading(self, pivots: Picks | int, now: float) -> Reading:
        """What goes with the result of a request that had these pivots: `Get.lanes.picks`, `Document.pivots`."""
        count = pivots.count if isinstance(pivots, Picks) else pivots
        return self.meter.reading(count, self.set_size(now), self._edge_age(now), now, RELAY)

    @property
    def is_guard_doubtful(self) -> bool:
        """Many circuits ended before a pivot answered.  Shown to the user: to change guards fast is what an attacker wants."""
        lost, answered = self.channels.unanswered, self.channels.opened
        return lost + answered >= DOUBT_FROM and lost > DOUBT_SHARE * (lost + answered)

    # -- requests --------------------------------------------------------------------------------------------------------

    def get(
        self,
        uri: ChkUri,
        data: Callable[[int, bytes], None],
        finished: Finished,
        now: float,
        *,
        progress: Callable[[Progress], None] | None = None,
        held: Callable[[int], bytes | None] = lambda number: None,
        anchors: Iterable[Attach] = (),
        level: str = RELAY,
        accept_small_set: int | None = None,
    ) -> Get:
        """Fetch a file; see Get.  AnonymityError at once if the conditions are not met."""
        self.admit(level, accept_small_set, now)
        transfer = Get(self.channels, self._cache, uri, data, finished, progress, held, anchors)
        transfer.start(now)
        return transfer

    def put(
        self,
        read: Callable[[int, Callable[[bytes, float], None]], None],
        finished: Finished,
        now: float,
        *,
        key: bytes | None = None,
        mime: str = "application/octet-stream",
        size: int | None = None,
        sha1: bytes | None = None,
        tth: bytes | None = None,
        progress: Callable[[Progress], None] | None = None,
        level: str = RELAY,
        accept_small_set: int | None = None,
    ) -> Put:
        """Publish a file under a random key, or under the one that is given; see Put and `chk.convergent_hash`."""
        self.admit(level, accept_small_set, now)
        if key is None:
            key = self._chance.getrandbits(256).to_bytes(32, "big")
        transfer = Put(self.channels, key, read, finished, progress, mime=mime, size=size, sha1=sha1, tth=tth)
        transfer.start(now)
        return transfer
