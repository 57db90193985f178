"""Messages that concern one link alone: Bye, route tables, vendor messages, horizon sizes, and kinds that we do not know.

Route tables go to tables.py; what vendor messages mean is for the extension (seams.LinkExtension) if one is set, which is
shown route tables too.  Nobody forwards them.
"""

from __future__ import annotations

import struct

from gnutella.errors import RemoteViolation
from gnutella.protocol.frames import Frame
from gnutella.protocol.kinds import BYE, HSEP, ROUTE_TABLE, VENDOR, VENDOR_STANDARD
from gnutella.protocol.message import Bye, RoutePatch, RouteReset, VendorMessage, encode, parse_payload
from gnutella.protocol.vendor import body_of
from gnutella.reasons import DropReason
from gnutella.routing.events import ByeReceived
from gnutella.routing.guids import fresh_guid
from gnutella.routing.link import Link
from gnutella.routing.seams import LinkExtension
from gnutella.routing.switchboard import Switchboard
from gnutella.routing.tables import Tables

_NULL_VENDOR = bytes(4)
#: Vendor messages that we act on, as (vendor, selector, version): what Messages Supported lists.  Features Supported is read;
#: whoever adds an extension adds its messages.
RECEIVED_VENDOR_MESSAGES: tuple[tuple[bytes, int, int], ...] = ((_NULL_VENDOR, 10, 0),)
_KNOWN = frozenset({ROUTE_TABLE, VENDOR, VENDOR_STANDARD, HSEP})
_ENTRY = struct.Struct("<4sHH")
#: Characters of a Bye's text that go into the event.
MAX_BYE_TEXT = 200


class Signals:
    """Reads what is not routed."""

    def __init__(self, board: Switchboard, tables: Tables) -> None:
        self._board = board
        self._tables = tables
        self.extension: LinkExtension | None = None
        self.vendor_messages = RECEIVED_VENDOR_MESSAGES

    def opened(self, link: Link) -> None:
        """Messages Supported must be the first vendor message of a link (digest 1.12)."""
        if not link.info.vendor_messages:
            return
        listed = b"".join(_ENTRY.pack(*row) for row in self.vendor_messages)
        message = VendorMessage(_NULL_VENDOR, 0, 0, len(self.vendor_messages).to_bytes(2, "little") + listed)
        self._board.send(link, VENDOR, 0, encode(fresh_guid(self._board.rng), 1, 0, message))

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
        self._board.emit(ByeReceived(link.id, bye.code, bye.text[:MAX_BYE_TEXT]))
        self._board.remove(link)

    def _read(self, link: Link, frame: Frame, now: float) -> None:
        payload = frame.payload
        if frame.kind == ROUTE_TABLE and frame.hops:  # somebody else's (digest 2.8)
            self._board.drop(link, DropReason.BAD_ROUTE_TABLE, "a table that was passed on")
            return
        try:
            message = parse_payload(frame.kind, payload)
            if isinstance(message, VendorMessage):
                body_of(message)
        except RemoteViolation as violation:
            self._board.drop(link, violation.reason, violation.detail)
            return
        if isinstance(message, RouteReset | RoutePatch):
            self._tables.receive(link, message, now)
        if self.extension is not None and not link.is_closed:
            self._board.act(self.extension.link_message(link.id, frame.kind, payload, now))
