"""Hits for queries that our own catalog matches, and what we say of ourselves in hits and pongs.

Hits go out with TTL = hops of the query + 5, so that they also come back over a somewhat longer path (digest 2.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gnutella import VENDOR_CODE, __version__
from gnutella.networks import is_public
from gnutella.protocol.addresses import ipv6_value
from gnutella.protocol.frames import Frame
from gnutella.protocol.ggep import Ggep, le_encode
from gnutella.protocol.kinds import HEADER_SIZE, QUERY_HIT, encode_header
from gnutella.protocol.message import Pong, hit_payloads, honest_kbytes
from gnutella.protocol.offer import MAX_OWN_HIT
from gnutella.protocol.query import FLAG_GGEP_H, FLAG_OOB, MASK_MAX_HITS, oob_address
from gnutella.reasons import DropReason
from gnutella.routing.guess import GUESS_VERSION
from gnutella.routing.link import HARD_MAX_TTL, Link
from gnutella.routing.seams import Library, OwnAddress, Shared
from gnutella.routing.seen import Generations
from gnutella.routing.switchboard import Switchboard
from gnutella.routing.udp_pongs import slots_value
from gnutella.units import Address, Guid, LinkId

#: Hops that a hit may make beyond those of its query (gtk-gnutella; digest 2.5).
EXTRA_TTL = 5
#: A query is answered out of band if it made this many hops before the last one (digest 8.5 counts that too): neighbours
#: are answered over their link.
MIN_OOB_HOPS = 1
#: Speed in hits, kbit/s: we do not measure it, and readers only show it.
SPEED_KBIT_S = 10_000
#: Addresses by our IP whose pongs are kept ready; an upper bound on our own interfaces.
_MAX_OWN_PONGS = 64
#: Queries whose copies are known, in a generation, and for how long at least: as long as the way back (digest 4.1).
MAX_ANSWERED = 4096
ANSWERED_LIFE_S = 600.0
_MAJOR, _MINOR = (int(part) for part in __version__.split(".")[:2])
#: GGEP VC: four letters, then major and minor version in half a byte each.
_VENDOR = VENDOR_CODE + bytes((min(_MAJOR, 15) << 4 | min(_MINOR, 15),))


@dataclass(slots=True)
class Self:
    """What the node says of itself; the edge changes it while it runs.

    `is_firewalled` makes hits ask for a push and name `push_proxies`, `is_busy` tells that all upload slots are taken,
    `can_browse` that all our files are listed to whoever asks (other servents offer that only where it is said),
    `accepts_links` is whether pongs advertise us to strangers, `daily_uptime_s` is the average a day.  `slots` are free ones
    for leaves and for ultrapeers (None: we are a leaf), `takes_guess` is whether we answer queries by UDP.
    """

    is_firewalled: bool = False
    is_busy: bool = False
    has_uploaded: bool = False
    reads_tls: bool = False
    can_browse: bool = False
    accepts_links: bool = True
    daily_uptime_s: int | None = None
    #: Where we are to be reached over IPv6, told beside an IPv4 address.
    ipv6: str = ""
    push_proxies: tuple[Address, ...] = ()
    slots: tuple[int, int] | None = None
    takes_guess: bool = False


class Offers(Protocol):
    """The part of oob_offers.Offers that answers use."""

    def offer(self, link: LinkId, frame: Frame, files: Sequence[Shared], address: Address, now: float) -> bool:
        """Announce `files` by UDP; False if they are to be sent over the link.  `address`: where the asker reaches us."""
        ...


def hit_ttl(hops: int) -> int:
    """TTL of a hit for a query that came with `hops`."""
    return min(hops + EXTRA_TTL, HARD_MAX_TTL)


class Answers:
    """Builds our hits and our pong."""

    def __init__(self, board: Switchboard, library: Library, own_address: OwnAddress) -> None:
        self.self = Self()
        #: Whoever announces hits out of band, if our UDP port is open.
        self.offers: Offers | None = None
        self._board = board
        self._own_address = own_address
        self._library = library
        self._pongs: dict[tuple[str, bool], bytes] = {}
        #: Queries that we answered or asked, by what ultrapeers that proxy them do not change -> their GUID.
        self._answered: Generations[bytes, Guid] = Generations(MAX_ANSWERED, ANSWERED_LIFE_S)

    def tick(self, now: float) -> None:
        """Forget what was answered long ago."""
        self._answered.tick(now)

    def asked(self, guid: Guid, now: float) -> None:
        """A search of our own or of a leaf: nobody's copy of it is answered."""
        self._answered.put(_core(guid), guid, now)

    def set_library(self, library: Library) -> None:
        self._library = library
        self.forget_pongs()

    def forget_pongs(self) -> None:
        """Make our pong anew when it is next asked for: something that it tells has changed."""
        self._pongs.clear()

    def address_for(self, link: Link) -> Address:
        """Where that peer can reach us."""
        return self._own_address(link.info.local_host)

    def reply(self, link: Link, frame: Frame, found: Sequence[Shared], now: float) -> None:
        """Send hits for a query that `found` answers."""
        flags = int.from_bytes(frame.data[frame.start + HEADER_SIZE : frame.start + HEADER_SIZE + 2], "big")
        if self._is_copy(frame.guid, now) and flags & FLAG_OOB:
            self._board.counters.drops[DropReason.ANSWERED_ALREADY] += 1
            self._board.trace.step(frame.guid, now, "not answered", None, DropReason.ANSWERED_ALREADY.value)
            return
        wanted = flags & MASK_MAX_HITS
        files = found[:wanted] if wanted else found
        address = self.address_for(link)
        is_offered = bool(
            flags & FLAG_OOB
            and frame.hops >= MIN_OOB_HOPS
            and self.offers is not None
            and self.offers.offer(link.id, frame, files, address, now)
        )
        if not is_offered:
            self.send_hits(link, self.hits(frame.guid, frame.hops, files, flags, address))
        self._board.counters.queries_answered += 1
        self._board.counters.results_sent += len(files)
        if frame.guid in self._board.trace:
            noun = "hit" if len(files) == 1 else "hits"
            how = "announced" if is_offered else "answered"
            self._board.trace.step(frame.guid, now, f"{how} {len(files)} {noun}", link.id)

    def _is_copy(self, guid: Guid, now: float) -> bool:
        """Whether this is a query that was answered under the address of another ultrapeer; notes it if not."""
        known = self._answered.get(core := _core(guid))
        if known is None:
            self._answered.put(core, guid, now)
        return known is not None and known != guid

    def hits(
        self,
        guid: Guid,
        hops: int,
        files: Sequence[Shared],
        flags: int,
        address: Address,
        *,
        max_bytes: int = MAX_OWN_HIT,
        token: bytes = b"",
    ) -> list[bytes]:
        """Whole messages with hits for `files`; `hops` and `flags` are the query's, `address` is where the asker reaches us."""
        state, ttl = self.self, hit_ttl(hops)
        payloads = hit_payloads(
            files,
            address,
            self._board.servent_id,
            wants_ggep_h=bool(flags & FLAG_GGEP_H),
            needs_push=state.is_firewalled,
            is_busy=state.is_busy,
            has_uploaded=state.has_uploaded,
            speed_kbit=SPEED_KBIT_S,
            reads_tls=state.reads_tls,
            can_browse=state.can_browse,
            push_proxies=state.push_proxies if state.is_firewalled else (),
            max_bytes=max_bytes,
            token=token,
            ipv6=self._ipv6_beside(address),
        )
        return [encode_header(guid, QUERY_HIT, ttl, 0, len(payload)) + payload for payload in payloads]

    def _ipv6_beside(self, address: Address) -> str:
        """Our IPv6 address where it is told beside an IPv4 one: nothing private to the public, nor the reverse."""
        six = self.self.ipv6
        return six if six and ":" not in address.host and is_public(six) is is_public(address.host) else ""

    def send_hits(self, link: Link, messages: Sequence[bytes]) -> None:
        """Send what `hits` made back over the link of the query."""
        for message in messages:
            self._board.send(link, QUERY_HIT, 0, message)

    def own_pong(self, link: Link) -> bytes:
        """Payload of our own pong for that peer, without GGEP where it does not read it."""
        key = link.info.local_host, link.info.reads_ggep
        payload = self._pongs.get(key)
        if payload is None:
            if len(self._pongs) >= _MAX_OWN_PONGS:
                self._pongs.clear()
            payload = self._pongs[key] = self._make_pong(link)
        return payload

    def _make_pong(self, link: Link) -> bytes:
        pong = self.pong_at(link.info.local_host)
        return (pong if link.info.reads_ggep else replace(pong, ggep=None)).encode()

    def pong_at(self, local_host: str) -> Pong:
        """Our pong for a host that reaches us at `local_host`, with what is said of us in every one."""
        values = {"VC": _VENDOR}
        if self.self.slots is not None:
            values["UP"] = slots_value(self.self.slots)
        if self.self.takes_guess:
            values["GUE"] = GUESS_VERSION
        if self.self.daily_uptime_s is not None:
            values["DU"] = le_encode(self.self.daily_uptime_s)
        address = self._own_address(local_host)
        if six := address.host if ":" in address.host else self._ipv6_beside(address):
            values["6"] = ipv6_value(six)
        files = min(self._library.file_count, 0xFFFFFFFF)
        return Pong(address, files, honest_kbytes(self._library.kbytes), Ggep.of(values))


def _core(guid: Guid) -> bytes:
    """The bytes of a GUID that hold no address (digest 4.2)."""
    return guid[4:13] + guid[15:]


def wants_hits_elsewhere(frame: Frame, host: str) -> bool:
    """Whether a query of `host` itself, which nobody passed on, wants its hits sent to another host."""
    flags = frame.data[frame.start + HEADER_SIZE] << 8
    return bool(flags & FLAG_OOB) and oob_address(Guid(frame.guid)).host != host
