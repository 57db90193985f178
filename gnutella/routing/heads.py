"""HEAD pings (LIME/23) and pongs (LIME/24): whether a servent has a file and has room, for one small datagram (digest 2.9).

Answered from the library, over links and by UDP, where the answer is at most twice as long as the question and goes to one
source once a second.  A ping that names the servent id of a leaf whose push proxy we are goes to that leaf over its link, and
its pong back to whoever asked: nobody else could ask it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gnutella import VENDOR_CODE
from gnutella.networks import Shares
from gnutella.protocol.addresses import encode_hosts
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import HEADER_SIZE
from gnutella.protocol.message import encode
from gnutella.protocol.urn import parse_urn
from gnutella.protocol.vendor import HEAD_ALTERNATES, Body, HeadPing, HeadPong
from gnutella.protocol.vendor_out import message_of
from gnutella.reasons import DropReason
from gnutella.routing.actions import SendDatagram
from gnutella.routing.answers import Self
from gnutella.routing.link import Link
from gnutella.routing.seen import Generations
from gnutella.routing.signals import Signals
from gnutella.routing.switchboard import Switchboard
from gnutella.routing.udp_limits import MAX_AMPLIFICATION, AnswerLimits, source_key
from gnutella.units import Address, Guid, LinkId

#: Other sources that a pong names.
MAX_ALTERNATES = 10
#: Pings that were passed on to leaves, for one to two times as long as their pongs may take (digest 4.1).
MAX_PASSED_ON = 1024
PASSED_ON_S = 10.0
#: Code byte: we have the file; and cannot be dialled.
_COMPLETE, _FIREWALLED = 0x01, 0x04
#: Queue state when all slots are taken, and the most free ones that it can say.
_BUSY, _MAX_FREE = 0x7F, 127
_FEATURE_TLS = 0x01
_TTL = 1
#: The shortest question to a leaf: name of the vendor message, flags, URN, and a block with a servent id.
_SHORTEST = HEADER_SIZE + 8 + 1 + 41 + 23
#: A leaf's pong that goes out by UDP is no longer than that.
MAX_FORWARDED = MAX_AMPLIFICATION * _SHORTEST


@dataclass(frozen=True, slots=True)
class Holding:
    """A file that we have: upload slots that are free, and who else has it."""

    free_slots: int
    alternates: tuple[Address, ...] = ()


class Heads:
    """One node's.  `holding(sha1)` tells of a file, None for one that we have not."""

    def __init__(self, board: Switchboard, signals: Signals, state: Self, now: float) -> None:
        self._board = board
        self._signals = signals
        self._state = state
        self.holding: Callable[[bytes], Holding | None] = lambda sha1: None
        self._limits = AnswerLimits(now)
        self._passed_on: Generations[Guid, Address | LinkId] = Generations(MAX_PASSED_ON, PASSED_ON_S, now)
        signals.read(b"LIME", 23, 2, self._by_link)
        signals.read(b"LIME", 24, 2, self._ponged)

    def use_shares(self, shares: Shares) -> None:
        """Which part of our answers one network may have from now on."""
        self._limits.shares = shares

    def tick(self, now: float) -> None:
        """Forget what is over."""
        self._limits.tick(now)
        self._passed_on.tick(now)

    # -- questions -----------------------------------------------------------------------------------------------------

    def by_udp(self, guid: Guid, body: Body, source: Address, now: float) -> DropReason | None:
        """A ping in a datagram; the reason if it is dropped."""
        assert isinstance(body, HeadPing)
        reason = self._limits.refusal(source_key(source), now, packed=False, host=source.host)
        if reason is None and (reason := self._pass_on(guid, body, source, now)) is None:
            pong = self._answer(body)
            if pong is not None:
                self._board.emit(SendDatagram(source, encode(guid, _TTL, 0, message_of(pong))))
        return reason

    def _by_link(self, link: Link, guid: Guid, body: Body, now: float) -> None:
        assert isinstance(body, HeadPing)
        reason = self._limits.refusal(f"link {link.id}", now, packed=False)
        if reason is None:
            reason = self._pass_on(guid, body, link.id, now)
        if reason is not None:
            self._board.drop(link, DropReason.RATE if reason is DropReason.UDP_RATE else reason)
        elif (pong := self._answer(body)) is not None:
            self._signals.answer(link, pong, guid)

    def _answer(self, ping: HeadPing) -> HeadPong | None:
        """Our pong; None when the question was for a leaf."""
        if self._target(ping) not in (None, self._board.servent_id):
            return None
        sha1 = parse_urn(ping.urn).sha1
        held = self.holding(sha1) if sha1 is not None else None
        if held is None:
            return HeadPong(Ggep.of({"C": b"\0", "V": VENDOR_CODE}))
        state = self._state
        free = min(held.free_slots, _MAX_FREE)
        values = {
            "C": bytes((_COMPLETE | (_FIREWALLED if state.is_firewalled else 0),)),
            "V": VENDOR_CODE,
            "F": bytes((_FEATURE_TLS if state.reads_tls else 0,)),
            "Q": (-free).to_bytes(1, "little", signed=True) if free > 0 else bytes((_BUSY,)),
        }
        room = MAX_AMPLIFICATION * _size(ping)
        for count in range(MAX_ALTERNATES if ping.flags & HEAD_ALTERNATES else 0, 0, -1):
            if known := encode_hosts(held.alternates[:count]):
                pong = HeadPong(Ggep.of({**values, "A": known}))
                if _size(pong) <= room:
                    return pong
        return HeadPong(Ggep.of(values))

    # -- for leaves ----------------------------------------------------------------------------------------------------

    def _target(self, ping: HeadPing) -> Guid | None:
        named = ping.ggep.get("PUSH") if ping.ggep is not None else None
        return Guid(named) if named else None

    def _pass_on(self, guid: Guid, ping: HeadPing, asker: Address | LinkId, now: float) -> DropReason | None:
        """To the leaf that it names, if any."""
        board, target = self._board, self._target(ping)
        if target is None or target == board.servent_id:
            return None
        leaf = board.links.get(board.proxied.get(target, LinkId(-1)))
        if leaf is None or leaf.id == asker:
            return DropReason.NOT_PROXIED
        if guid in self._passed_on:
            return DropReason.DUPLICATE
        if not self._signals.tell(leaf, ping, guid):
            return DropReason.NO_ROUTE
        self._passed_on.put(guid, asker, now)
        return None

    def _ponged(self, link: Link, guid: Guid, body: Body, now: float) -> None:
        """The pong of a leaf, for whoever asked it through us."""
        assert isinstance(body, HeadPong)
        asker = self._passed_on.get(guid)
        self._passed_on.discard(guid)
        if asker is None:
            self._board.drop(link, DropReason.HEAD_UNREQUESTED)
        elif isinstance(asker, Address):
            message = encode(guid, _TTL, 0, message_of(body))
            if len(message) <= MAX_FORWARDED:
                self._board.emit(SendDatagram(asker, message))
            else:
                self._board.drop(link, DropReason.HEAD_UNREQUESTED, f"{len(message)} bytes")
        elif (to := self._board.links.get(asker)) is not None:
            self._signals.answer(to, body, guid)


def _size(body: HeadPing | HeadPong) -> int:
    return len(encode(Guid(bytes(16)), _TTL, 0, message_of(body)))
