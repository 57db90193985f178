"""Vendor messages for tests of routers: whole messages on the wire, links that list what they read, and what was sent."""

from __future__ import annotations

from collections.abc import Iterable

from gnutella.protocol.kinds import VENDOR
from gnutella.protocol.message import VendorMessage, encode
from gnutella.protocol.vendor import KNOWN, Body, MessagesSupported, body_of
from gnutella.protocol.vendor_out import message_of
from gnutella.routing.actions import Action
from gnutella.routing.router import LinkInfo, Router
from gnutella.testing.routers import OWN_ADDRESS, guid_of, sent_by
from gnutella.units import Guid, LinkId

#: Lists all vendor messages that are known here.
ALL_LISTED = MessagesSupported(
    tuple((vendor, selector, max(known.versions)) for (vendor, selector), known in KNOWN.items())
)


def wire(body: Body, guid: Guid | None = None, *, hops: int = 0) -> bytes:
    """The whole message."""
    return encode(guid or guid_of(77), 1, hops, message_of(body))


def open_reader(router: Router, link: LinkId, host: str, now: float = 0.0, *, is_leaf: bool = False) -> None:
    """Open a link to a peer that reads every vendor message."""
    info = LinkInfo(host, OWN_ADDRESS.host, is_leaf=is_leaf, is_ultrapeer=not is_leaf, vendor_messages=True)
    router.link_opened(link, info, now)
    router.receive(link, wire(ALL_LISTED), now)


def told(actions: Iterable[Action]) -> dict[LinkId, list[Body | None]]:
    """Link -> the vendor messages sent to it."""
    found: dict[LinkId, list[Body | None]] = {}
    for link, frames in sent_by(actions).items():
        bodies = [body_of(VendorMessage.decode(frame.payload)) for frame in frames if frame.kind == VENDOR]
        if bodies:
            found[link] = bodies
    return found
