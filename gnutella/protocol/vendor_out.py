"""The vendor messages that this servent sends, made from the dataclasses that vendor.py reads them into (digest 2.9).

    payload = message_of(HopsFlow(0)).encode()

Each is written in the one version that every servent in use reads.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from gnutella.protocol.addresses import encode_hosts
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.vendor import (
    HEAD_HAS_GGEP,
    Body,
    FeaturesSupported,
    HeadPing,
    HeadPong,
    HopsFlow,
    MessagesSupported,
    OobAck,
    OobProxyVeto,
    OobReplies,
    PushProxyAck,
    PushProxyCancel,
    PushProxyRequest,
    QueryStatus,
    QueryStatusRequest,
    TcpConnectBack,
    UdpConnectBack,
    VendorMessage,
)

_NULL = bytes(4)
_ENTRY = struct.Struct("<4sHH")
_FEATURE = struct.Struct("<4sH")


def message_of(body: Body) -> VendorMessage:
    """`body` as it goes out.  KeyError for one that is never sent: connect-back redirects, which make others dial."""
    vendor, selector, version, write = _WRITERS[type(body)]
    return VendorMessage(vendor, selector, version, write(body))


def _u16(number: int) -> bytes:
    return number.to_bytes(2, "little")


def _messages(body: MessagesSupported) -> bytes:
    return _u16(len(body.messages)) + b"".join(_ENTRY.pack(*row) for row in body.messages)


def _features(body: FeaturesSupported) -> bytes:
    return _u16(len(body.features)) + b"".join(_FEATURE.pack(*row) for row in body.features)


def _udp_back(body: UdpConnectBack) -> bytes:
    if body.guid is None:
        raise ValueError("version 1 names the GUID")
    return _u16(body.port) + body.guid


def _ack(body: OobAck) -> bytes:
    if body.token is None:
        raise ValueError("version 3 has a token")
    return bytes((body.wanted,)) + Ggep.of({"SO": body.token}).encode()


def _head_ping(body: HeadPing) -> bytes:
    block = body.ggep.encode() if body.ggep is not None else b""
    flags = body.flags | HEAD_HAS_GGEP if block else body.flags & ~HEAD_HAS_GGEP
    return bytes((flags,)) + body.urn.encode("ascii") + block


def _nothing(_: Body) -> bytes:
    return b""


_Writer = Callable[[Any], bytes]
_WRITERS: dict[type, tuple[bytes, int, int, _Writer]] = {
    MessagesSupported: (_NULL, 0, 0, _messages),
    FeaturesSupported: (_NULL, 10, 0, _features),
    HopsFlow: (b"BEAR", 4, 1, lambda body: bytes((body.max_hops,))),
    TcpConnectBack: (b"BEAR", 7, 1, lambda body: _u16(body.port)),
    UdpConnectBack: (b"GTKG", 7, 1, _udp_back),
    QueryStatusRequest: (b"BEAR", 11, 1, _nothing),
    QueryStatus: (b"BEAR", 12, 1, lambda body: _u16(body.kept)),
    OobReplies: (b"LIME", 12, 3, lambda body: bytes((body.hits, 1 if body.takes_unsolicited else 0))),
    OobAck: (b"LIME", 11, 3, _ack),
    OobProxyVeto: (b"LIME", 13, 1, lambda body: bytes((body.version,))),
    PushProxyRequest: (b"LIME", 21, 1, _nothing),
    PushProxyCancel: (b"GTKG", 21, 1, _nothing),
    PushProxyAck: (b"LIME", 22, 2, lambda body: encode_hosts([body.address])),
    HeadPing: (b"LIME", 23, 2, _head_ping),
    HeadPong: (b"LIME", 24, 2, lambda body: body.ggep.encode()),
}
