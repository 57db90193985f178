"""Pings and pongs on links: who lives, and who else is there (digest 2.2, 2.3, 5.1).

What a ping gets (hops 0): TTL 1 exactly one pong, ours; TTL 2, which crawlers send, ours and those of our neighbours; a larger
TTL, ours and up to ten from the cache.  Leaves get the same, and in an island, where few ultrapeers are known, pongs of our
other leaves, also of those that come later: if we go, they need each other.  What we send: a ping when a link opens, then one
each `ping_interval_s` that refreshes the cache.  A link that said nothing for QUIET_S gets a TTL 1 ping, one more each
PROBE_GAP_S, and is closed after MAX_SILENT_PINGS of them without a sign of life (any message is one): a peer without power is
gone within a minute.  A leaf with few ultrapeers asks and closes in half of that time.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from gnutella.errors import RemoteViolation
from gnutella.protocol.frames import Frame
from gnutella.protocol.kinds import PING, PONG, encode_header
from gnutella.protocol.message import Ping, Pong
from gnutella.reasons import DropReason
from gnutella.routing.answers import Answers
from gnutella.routing.events import HostLearned
from gnutella.routing.guids import fresh_guid
from gnutella.routing.link import HARD_MAX_TTL, Link, wrong_ttl
from gnutella.routing.pongs import MAX_PONGS_GIVEN, CachedPong, PongCache
from gnutella.routing.seen import Generations
from gnutella.routing.switchboard import Switchboard
from gnutella.settings import RoutingSettings
from gnutella.units import Guid, LinkId, is_plausible_peer

#: TTL of a ping that asks for pongs: 3 or more is not taken for an alive or crawler ping (digest 5.1).
REFRESH_TTL = 3
ALIVE_TTL = 1
CRAWLER_TTL = 2
#: A ping that asks for pongs is answered at most this often on a link ([S06]; digest 5.1).
MIN_PING_GAP_S = 1.0
#: Silence after which a link is asked whether it lives (gtk-gnutella; digest 4.6), or after the interval of pings if that is
#: shorter; seconds from one such ping to the next; how many without any answer close it.  gtk-gnutella takes six pings and two
#: minutes; our own numbers find a dead ultrapeer in 52 s, and a peer that is only slow still has half a minute for one answer.
QUIET_S = 20.0
PROBE_GAP_S = 8.0
MAX_SILENT_PINGS = 4
#: A leaf keeps 3 to 5 ultrapeers (digest 6.3); one that has fewer waits only for that share of these times.
FEW_ULTRAPEERS = 3
HURRY = 0.5
#: Pings of ours whose pongs are welcome: (muid -> link), 2 to 4 minutes (digest 4.1).
PING_GENERATION = 4096
PING_LIFE_S = 120.0
#: Pongs taken for one ping: our neighbour's own, ten cached, and a margin for those that send one for each neighbour.
MAX_PONGS_TAKEN = 32
#: Entries of the cache live for this many refreshes.
CACHE_REFRESHES = 2.0
#: Bytes of a pong that every servent reads; the GGEP block follows.
PLAIN_PONG = 14


class Pings:
    """Answers pings, sends our own, and learns from pongs."""

    def __init__(self, board: Switchboard, answers: Answers, *, allow_private: bool, now: float = 0.0) -> None:
        self._board = board
        self._answers = answers
        self._allow_private = allow_private
        self._interval_s = board.settings.ping_interval_s
        #: Whether a host is on a blocklist: its pongs are neither believed nor passed on.  The node sets it.
        self.refuses: Callable[[str], bool] = lambda host: False
        self.cache = PongCache(CACHE_REFRESHES * self._interval_s)
        self._leaf_pongs: dict[LinkId, CachedPong] = {}
        #: The last ping of each leaf that asked for pongs: one may still come for it.
        self._leaf_asked: dict[LinkId, Frame] = {}
        self._asked: Generations[Guid, LinkId] = Generations(PING_GENERATION, PING_LIFE_S, now)
        self._taken: Generations[Guid, int] = Generations(PING_GENERATION, PING_LIFE_S, now)

    def use_settings(self, settings: RoutingSettings) -> None:
        """Ping at another interval, and keep what was learned for as many of those."""
        self._interval_s = settings.ping_interval_s
        self.cache.life_s = CACHE_REFRESHES * settings.ping_interval_s

    # -- what comes ----------------------------------------------------------------------------------------------------

    def ping(self, link: Link, frame: Frame, now: float) -> None:
        """A ping of a link."""
        reason = wrong_ttl(frame)
        if reason is None and link.info.is_leaf and frame.hops:
            reason = DropReason.LEAF_RELAYED
        if reason is None and frame.length:
            reason = _unreadable(frame)
        if reason is None and frame.ttl == ALIVE_TTL and not frame.hops:
            self._pong(link, frame, self._answers.own_pong(link), 0)
            return
        if reason is None and now - link.pongs_given_at < MIN_PING_GAP_S:
            reason = DropReason.RATE
        if reason is not None:
            self._board.drop(link, reason)
            return
        link.pongs_given_at = now
        if link.info.is_leaf:
            self._leaf_asked[link.id] = frame
        self._give_pongs(link, frame, now)

    def pong(self, link: Link, frame: Frame, now: float) -> None:
        """A pong of a link: fresh plausible addresses are cached and told to the node."""
        reason, pong = self._judge(link, frame, now)
        if pong is None:
            self._board.drop(link, reason or DropReason.BAD_PONG)
            return
        cached = CachedPong(pong.address, frame.payload, link.id, frame.hops + 1, now)
        if link.info.is_leaf:
            if pong.address.host == link.info.host:
                is_new = link.id not in self._leaf_pongs
                self._leaf_pongs[link.id] = cached
                if is_new and self._allow_private and not self._board.is_leaf:
                    self._tell_beside(cached)
            return  # It takes no links from leaves; its pong says that it lives.
        if self.cache.put(cached):
            free = None if pong.free_slots is None else pong.free_slots[0]
            self._board.emit(
                HostLearned(pong.address, pong.files, pong.kbytes, pong.is_ultrapeer, pong.daily_uptime_s, free)
            )

    def _judge(self, link: Link, frame: Frame, now: float) -> tuple[DropReason | None, Pong | None]:
        reason = wrong_ttl(frame)
        if reason is not None:
            return reason, None
        if self._asked.get(frame.guid) != link.id:
            return DropReason.UNREQUESTED_PONG, None
        taken = self._taken.get(frame.guid) or 0
        if taken >= MAX_PONGS_TAKEN:
            return DropReason.RATE, None
        self._taken.put(frame.guid, taken + 1, now)
        try:
            pong = Pong.decode(frame.payload)
        except RemoteViolation as violation:
            return violation.reason, None
        if not is_plausible_peer(pong.address, allow_private=self._allow_private):
            return DropReason.BOGUS_PONG, None
        if self.refuses(pong.address.host):
            return DropReason.BLOCKED, None
        if pong.address == self._answers.address_for(link):
            return DropReason.OWN_MESSAGE, None
        return None, pong

    def _give_pongs(self, link: Link, frame: Frame, now: float) -> None:
        if self._answers.self.accepts_links:
            self._pong(link, frame, self._answers.own_pong(link), 0)
        is_crawler = frame.ttl == CRAWLER_TTL and not frame.hops
        chosen = self.cache.choose(link.id, link.info.listen, now, max_hops=1 if is_crawler else 255)
        if self._allow_private and link.info.is_leaf:
            chosen += self._beside(link, MAX_PONGS_GIVEN - len(chosen))
        for cached in chosen:
            payload = cached.payload if link.info.reads_ggep else cached.payload[:PLAIN_PONG]
            self._pong(link, frame, payload, cached.hops)

    def _beside(self, link: Link, count: int) -> list[CachedPong]:
        """Pongs of leaves beside that one, which it can tell from those of ultrapeers; the last that came first."""
        beside = (pong for other, pong in reversed(self._leaf_pongs.items()) if other != link.id)
        return list(islice((pong for pong in beside if pong.link in self._board.links), count))

    def _tell_beside(self, new: CachedPong) -> None:
        """Tell the other leaves of one that has just come, as long as there are few: those that come together know nobody."""
        if len(self._leaf_asked) > MAX_PONGS_GIVEN:
            return
        for other, frame in self._leaf_asked.items():
            link = self._board.links.get(other)
            if link is not None and other != new.link:
                self._pong(link, frame, new.payload if link.info.reads_ggep else new.payload[:PLAIN_PONG], new.hops)

    def _pong(self, link: Link, frame: Frame, payload: bytes, hops: int) -> None:
        """One pong: TTL is the hops of the ping + 1, so that it just reaches whoever asked."""
        ttl = frame.hops + 1
        hops = min(hops, HARD_MAX_TTL - ttl)
        self._board.send(link, PONG, hops, encode_header(frame.guid, PONG, ttl, hops, len(payload)) + payload)

    # -- what we send --------------------------------------------------------------------------------------------------

    def opened(self, link: Link, now: float) -> None:
        """The first ping of a link, and when the next is due."""
        self._send(link, ALIVE_TTL if link.info.is_leaf else REFRESH_TTL, now)
        self._schedule(link, now)

    def ask(self, now: float) -> None:
        """Ask every link but leaves for pongs; the next ping of each is an interval away."""
        for link in self._board.links.values():
            if not link.info.is_leaf:
                self._send(link, REFRESH_TTL, now)
                self._schedule(link, now)

    def forget_refused(self) -> None:
        """Drop the pongs of hosts that are on a blocklist by now."""
        self.cache.forget(self.refuses)

    def recent_pongs(self, now: float) -> list[Pong]:
        """Pongs of the cache, in random order."""
        payloads = [cached.payload for cached in self.cache.fresh(now)]
        return [Pong.decode(payload) for payload in sorted(payloads, key=lambda _: self._board.rng.random())]

    def tick(self, now: float) -> None:
        """Pings that are due; closes links that are dead."""
        self.cache.tick(now)
        for gone in self._leaf_pongs.keys() - self._board.links.keys():
            del self._leaf_pongs[gone]
        for gone in self._leaf_asked.keys() - self._board.links.keys():
            del self._leaf_asked[gone]
        self._asked.tick(now)
        self._taken.tick(now)
        board = self._board
        share = HURRY if board.is_leaf and len(board.links) < FEW_ULTRAPEERS else 1.0
        quiet_s = share * min(QUIET_S, self._interval_s)
        for link in list(board.links.values()):
            if now - link.heard_at >= quiet_s:
                self._probe(link, share * PROBE_GAP_S, now)
            elif now >= link.next_ping_at:
                self._schedule(link, now)
                self._send(link, ALIVE_TTL if link.info.is_leaf else REFRESH_TTL, now)

    def _probe(self, link: Link, gap_s: float, now: float) -> None:
        """Ask a link that has been quiet for long whether it lives; close it if it did not answer."""
        # What pushes back does not get our pings; the router has a limit for that.
        if now < link.next_probe_at or link.blocked_since is not None:
            return
        if link.silent_pings >= MAX_SILENT_PINGS:
            self._board.close(link, DropReason.NO_ALIVE_REPLY, f"{link.silent_pings} pings")
            return
        link.silent_pings += 1
        link.next_probe_at = now + gap_s
        self._send(link, ALIVE_TTL, now)

    def _schedule(self, link: Link, now: float) -> None:
        """Within 90 to 110 % of the interval, so that links opened together do not ping together for ever."""
        link.next_ping_at = now + self._interval_s * (0.9 + 0.2 * self._board.rng.random())

    def _send(self, link: Link, ttl: int, now: float) -> None:
        guid = fresh_guid(self._board.rng)
        self._asked.put(guid, link.id, now)
        self._board.send(link, PING, 0, encode_header(guid, PING, ttl, 0, 0))


def _unreadable(frame: Frame) -> DropReason | None:
    try:
        Ping.decode(frame.payload)
    except RemoteViolation as violation:
        return violation.reason
    return None
