"""Fuzzing targets of relay links: certificates, client hellos, sessions, and what peers say about the link itself."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache

from cryptography.hazmat.primitives.serialization import Encoding

from anonymizer import wire
from anonymizer.membership import Talk
from anonymizer.reasons import Violation
from anonymizer.tls import MAX_CERTIFICATE, RelayTls, make_certificate, node_id_in
from gnutella.errors import RemoteViolation
from gnutella.protocol.client_hello import alpn_of
from gnutella.testing.relay_members import MemberNet
from gnutella.testing.relay_nodes import descriptor_of, signing_key

_DER = make_certificate(signing_key(1)).public_bytes(Encoding.DER)
#: Things said to the membership by one input; more make it slower and find no more.
MAX_STEPS = 24


@cache
def _nodes() -> tuple[RelayTls, RelayTls]:
    return RelayTls(signing_key(1)), RelayTls(signing_key(2))


def _certificate(data: bytes) -> None:
    """Taken only if it is ours, to the byte."""
    try:
        node_id_in(data)
    except Violation:
        if data == _DER:
            raise AssertionError("refused what we made") from None
        raise
    assert len(data) <= MAX_CERTIFICATE


def _client_hello(data: bytes) -> None:
    """What a part of the bytes decided, the rest does not change."""
    try:
        early = alpn_of(data[: zlib.crc32(data) % (len(data) + 1)])
    except RemoteViolation:
        early = ()
        assert not data.startswith(_HELLO)
    if early:
        assert alpn_of(data) == early
    alpn_of(data)


def _session(data: bytes) -> None:
    """To a server, to a client, and to a session that is open: nothing is read of it that its peer did not write."""
    one, two = _nodes()
    client, server = one.client(two.node_id), two.server()
    first = client.begin()
    fresh = two.server()
    refused: Violation | None = None
    for session in (fresh, one.client(None), server):
        if session.role == "client":
            session.begin()
        if session is server:
            server.feed(first)
            client.feed(server.take())
            server.feed(client.take())
            assert server.is_open
        try:
            assert session.feed(data) == []
        except Violation as violation:
            refused = violation
    assert not fresh.is_open
    if refused is not None:
        raise refused


def _membership(data: bytes) -> None:
    """Two neighbours say, by turns and in any order, what links say; tables stay bounded and nothing breaks."""
    net = MemberNet(3, 1)
    one, *others = net.members
    for other in others:
        net.introduce(one, other)
    for what, when in zip(data[: 2 * MAX_STEPS : 2], data[1 : 2 * MAX_STEPS : 2], strict=False):
        body, other = _TALK[what % len(_TALK)], others[what // len(_TALK) % 2]
        if other.id in one.links:
            one.membership.receive(other.id, body, net.time)
        net.clock.run(net.clock.now + when / 128)
        kinds = list(one.edges.edges.values())
        assert kinds.count(True) <= 2 and kinds.count(False) <= 2
        assert set(one.edges.edges) <= set(one.links)
        assert len(one.known) <= 4


_HELLO = RelayTls(signing_key(3)).client(None).begin()
_TALK: list[Talk] = [
    wire.Ping(bytes(8)),
    wire.Pong(bytes(8)),
    wire.Bye(wire.ByeReason.FULL),
    wire.Descriptors((descriptor_of(9).data, descriptor_of(10).data)),
    wire.DescriptorsWanted(0),
    wire.EdgeRequest(),
    wire.EdgeAnswer(True),
    wire.EdgeDrop(),
    wire.Pad(),
]
RUNS: dict[str, tuple[int, Callable[[bytes], None]]] = {
    "relay_certificate": (4, _certificate),
    "client_hello": (4, _client_hello),
    "relay_session": (1, _session),
    "relay_membership": (1, _membership),
}
SEEDS: dict[str, list[bytes]] = {
    "relay_certificate": [_DER],
    "client_hello": [_HELLO, _HELLO[:200]],
    "relay_session": [_HELLO, b"\x17\3\3\0\x20" + bytes(32), b"\x15\3\3\0\2\2\x50"],
    "relay_membership": [bytes(range(36)), b"\5\xff\6\xff\7\xff\5\xff", b"\2\xff" * 8],
}
