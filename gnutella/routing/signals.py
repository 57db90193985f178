"""Messages that concern one link alone: Bye, route tables, vendor messages, horizon sizes, and kinds that we do not know.

Route tables go to tables.py.  A part of the router that acts on a vendor message says so with `read`: that is what puts it
into our Messages Supported, so that we list what we read and nothing else; `tell` sends one to a peer that listed it.
Nobody forwards these messages.
"""

from __future__ import annotations

from collections.abc import Callable

from gnutella.errors import RemoteViolation
from gnutella.protocol.frames import Frame
from gnutella.protocol.kinds import BYE, HSEP, ROUTE_TABLE, VENDOR, VENDOR_STANDARD
from gnutella.protocol.message import Bye, RoutePatch, RouteReset, VendorMessage, encode, parse_payload
from gnutella.protocol.vendor import KNOWN, Body, MessagesSupported, body_of
from gnutella.protocol.vendor_out import message_of
from gnutella.reasons import DropReason
from gnutella.routing.events import ByeReceived
from gnutella.routing.guids import fresh_guid
from gnutella.routing.link import Link
from gnutella.routing.switchboard import Switchboard
from gnutella.routing.tables import Tables
from gnutella.units import Guid

_NULL_VENDOR = bytes(4)
#: Vendor messages that are always read, as (vendor, selector, version): Features Supported.
RECEIVED_VENDOR_MESSAGES: tuple[tuple[bytes, int, int], ...] = ((_NULL_VENDOR, 10, 0),)
_KNOWN = frozenset({ROUTE_TABLE, VENDOR, VENDOR_STANDARD, HSEP})
#: Vendor messages that push proxies pass on to leaves, and back: HEAD ping and pong.
_RELAYED = frozenset({(b"LIME", 23), (b"LIME", 24)})
#: Characters of a Bye's text that go into the event.
MAX_BYE_TEXT = 200

#: Acts on one vendor message: its link, GUID and data, and the time.
Reader = Callable[[Link, Guid, Body, float], None]


class Signals:
    """Reads what is not routed."""

    def __init__(self, board: Switchboard, tables: Tables) -> None:
        self._board = board
        self._tables = tables
        self.vendor_messages = RECEIVED_VENDOR_MESSAGES
        self._readers: dict[tuple[bytes, int], Reader] = {}
        self._refused: dict[tuple[bytes, int], DropReason] = {}

    def read(self, vendor: bytes, selector: int, version: int, reader: Reader) -> None:
        """From now on `reader` acts on that vendor message, and new links are told that we read it up to `version`."""
        self._readers[vendor, selector] = reader
        self.vendor_messages = (*self.vendor_messages, (vendor, selector, version))

    def refuse(self, vendor: bytes, selector: int, reason: DropReason) -> None:
        """Drop that vendor message for `reason`, whatever it says."""
        self._refused[vendor, selector] = reason

    def tell(self, link: Link, body: Body, guid: Guid | None = None) -> bool:
        """Send a vendor message to a peer that said it reads it; False when it did not."""
        message = message_of(body)
        if not link.reads_vendor(message.vendor, message.selector, message.version):
            return False
        self._send(link, message, guid)
        return True

    def answer(self, link: Link, body: Body, guid: Guid) -> None:
        """Send one to a peer that asked for it, which says that it reads it."""
        self._send(link, message_of(body), guid)

    def _send(self, link: Link, message: VendorMessage, guid: Guid | None = None) -> None:
        self._board.send(link, VENDOR, 0, encode(guid or fresh_guid(self._board.rng), 1, 0, message))

    def opened(self, link: Link) -> None:
        """Messages Supported must be the first vendor message of a link (digest 1.12)."""
        if link.info.vendor_messages:
            self._send(link, message_of(MessagesSupported(self.vendor_messages)))

    def receive(self, link: Link, frame: Frame, now: float) -> None:
        """A message of any kind that is not routed."""
        if frame.kind == BYE:
            self._bye(link, frame)
        elif frame.kind in _KNOWN:
            self._read(link, frame, now)
        else:
            self._board.drop(link, DropReason.UNKNOWN_KIND, f"kind {frame.kind:#04x}")

    def _bye(self, link: Link, frame: Frame) -> None:
        try:
            bye = Bye.decode(frame.payload)
        except RemoteViolation as violation:
            self._board.drop(link, violation.reason)
            bye = Bye(0, "")
        self._board.emit(ByeReceived(link.id, bye.code, bye.text[:MAX_BYE_TEXT], bye.headers))
        self._board.remove(link)

    def _read(self, link: Link, frame: Frame, now: float) -> None:
        payload = frame.payload
        if frame.kind == ROUTE_TABLE and frame.hops:  # somebody else's (digest 2.8)
            self._board.drop(link, DropReason.BAD_ROUTE_TABLE, "a table that was passed on")
            return
        body = None
        try:
            message = parse_payload(frame.kind, payload)
            if isinstance(message, VendorMessage):
                body = body_of(message)
        except RemoteViolation as violation:
            self._board.drop(link, violation.reason, violation.detail)
            return
        if isinstance(message, RouteReset | RoutePatch):
            self._tables.receive(link, message, now)
        if isinstance(message, VendorMessage) and body is not None:
            self._act(link, frame, message, body, now)

    def _act(self, link: Link, frame: Frame, message: VendorMessage, body: Body, now: float) -> None:
        key = message.vendor, message.selector
        if frame.hops and key not in _RELAYED:  # somebody else's: these go from neighbour to neighbour (digest 2.9)
            self._board.drop(link, DropReason.SIGNAL_RELAYED, message.label)
            return
        if isinstance(body, MessagesSupported):
            told = {(vendor, selector): version for vendor, selector, version in sorted(body.messages)}
            link.vendor = {key: told[key] for key in KNOWN if key in told}  # the keys are shared by all links
        if (reason := self._refused.get(key)) is not None:
            self._board.drop(link, reason, message.label)
        reader = self._readers.get(key)
        if reader is not None:
            reader(link, frame.guid, body, now)
