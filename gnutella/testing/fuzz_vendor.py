"""Fuzzing targets for what neighbours tell each other: vendor messages on a link, and requests to a push proxy."""

from __future__ import annotations

from gnutella.protocol import http
from gnutella.protocol.kinds import VENDOR, encode_header
from gnutella.protocol.message import Push
from gnutella.protocol.push_http import parse_proxies, push_target, read_push
from gnutella.protocol.vendor import VendorMessage
from gnutella.routing.events import ConnectBackAsked
from gnutella.routing.proxies import MAX_ASKED
from gnutella.testing.routers import OWN_SERVENT, events_of, guid_of, make_router, query_bytes
from gnutella.testing.vendors import open_reader
from gnutella.units import Guid, LinkId

_PEER = LinkId(0)
_HOST = "10.1.1.1"


def judge_signals(data: bytes) -> None:
    """A row of vendor messages, each with its length in two bytes before it; nothing may be raised at all.

    However they are put, the peer moves nobody to call anybody but itself, and our hits name nobody but it.
    """
    router = make_router(["purple elephant"])
    router.self.is_firewalled = True
    for number in range(3):
        open_reader(router, LinkId(number), f"10.1.1.{number + 1}", is_leaf=bool(number))
    router.reach.listen(6346, 6346)
    router.tick(0.5)
    at, now = 0, 1.0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "little")
        payload = data[at + 2 : at + 2 + size]
        for guid in (OWN_SERVENT, Guid(payload[-16:].rjust(16, b"\1"))):
            message = encode_header(guid, VENDOR, 1, 0, len(payload)) + payload
            for event in events_of(router.receive(_PEER, message, now)):
                assert not isinstance(event, ConnectBackAsked) or event.address.host == _HOST
        at, now = at + 2 + size, now + 1.0
        router.tick(now)
    assert len(router.self.push_proxies) <= MAX_ASKED
    assert all(proxy.host == _HOST for proxy in router.self.push_proxies)
    assert len(router._board.proxied) <= 1
    router.receive(LinkId(1), query_bytes("purple", guid_of(1)), now)
    router.link_closed(_PEER, now)
    router.tick(now + 1000.0)
    assert not router.self.push_proxies
    assert not router._board.proxied


def judge_push_request(data: bytes) -> None:
    """A whole request head."""
    head = http.HeadReader().feed(data)
    if head is None:
        return
    request = http.read_request(head)
    parse_proxies(request.headers, allow_private=True)
    if not isinstance(request.target, http.PushProxy):
        return
    push = read_push(request.target.query, request.headers, allow_private=False)
    assert Push.decode(push.encode()) == push
    again = http.parse_target(push_target(push.servent_id, push.index))
    assert isinstance(again, http.PushProxy)
    assert read_push(again.query, request.headers, allow_private=False) == push


def _rows(*payloads: bytes) -> bytes:
    return b"".join(len(payload).to_bytes(2, "little") + payload for payload in payloads)


def signal_seeds(payloads: list[bytes]) -> list[bytes]:
    """Conversations made of sound messages: of all of them, and of each with a list before it."""
    listed = VendorMessage(bytes(4), 0, 0, b"\2\0BEAR\4\0\1\0LIME\x15\0\1\0").encode()
    odd = VendorMessage(b"LIME", 7, 1, bytes((8, 8, 8, 8, 80, 0))).encode()
    return [_rows(*payloads[:40], odd), *(_rows(listed, payload) for payload in payloads[:20])]


REQUEST_SEEDS = [
    b"GET /gnutella/push-proxy?ServerId=B4PC2PCLLJUXR74HS2S3JQ6SAA&file=7 HTTP/1.1\r\nX-Node: 80.1.2.3:6346\r\n\r\n",
    b"HEAD /gnet/push-proxy?guid=0f1e2d3c4b5a6978ff8796a5b4c3d200&tls=true HTTP/1.1\r\nX-Node: 24.1.2.3:9\r\n"
    b"X-Push-Proxies: pptls=8, 80.1.2.3:6346, 81.1.1.1:1\r\n\r\n",
]
