"""The Gnutella 0.6 handshake, both sides, as machines without I/O; 0.4 is recognised and answered (protocol digest 1).

Three blocks: the initiator's offer, the acceptor's answer, the initiator's closing word; binary messages follow the last empty
line.  Three things that cut a servent off when done wrong: the success line is exactly `GNUTELLA/0.6 200 OK`, the acceptor
sends nothing between block 2 and block 3, and header names have the very spelling that LimeWire looks for.

    machine = Initiator(offer, "80.1.2.3"); send(machine.start())
    send(machine.receive(data))     # until machine.result is set
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.protocol.headers import MAX_HEAD_BYTES, MAX_HEAD_LINES, MAX_LINE, Head, Headers, HeadReader, format_head
from gnutella.protocol.peer import TRY, TRY_ULTRAPEERS, Offer, Peer, read_peer
from gnutella.reasons import DropReason
from gnutella.units import Address

__all__ = [
    "MAX_HEAD_BYTES",
    "MAX_HEAD_LINES",
    "MAX_LINE",
    "Acceptor",
    "Established",
    "HandshakeRefused",
    "Headers",
    "Initiator",
    "Offer",
    "Peer",
    "Refusal",
]

#: Entries of X-Try-Ultrapeers and of a crawler's lists (digest 1.4 and 1.9: ten are typical).
MAX_LISTED = 10
#: Refusals that carry no other hosts: the one who gets them should go away, not elsewhere (digest 1.6).
SILENT_CODES = frozenset((403, 406, 429, 550))
#: Longest reason text that is kept of a refusal.
MAX_REASON_TEXT = 100

_CONNECT = re.compile(r"GNUTELLA CONNECT/(\d{1,3})\.(\d{1,3})\Z")
_STATUS = re.compile(r"GNUTELLA/\d{1,3}\.\d{1,3} +(\d{3})(?: +(.*))?\Z")
_SUCCESS = "GNUTELLA/0.6 200 OK"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Our answer when we do not want the link; `code` and `text` go on the wire, `reason` is counted."""

    code: int
    text: str
    reason: DropReason


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake succeeded.

    `tls`: TLS starts now, the initiator being its client, and `surplus` is TLS bytes; else `surplus` is the beginning of the
    peer's message stream, compressed if `they_deflate`.
    """

    peer: Peer
    we_deflate: bool
    they_deflate: bool
    tls: bool
    surplus: bytes
    version: str
    #: We offered ourselves as an ultrapeer, and became the peer's leaf because it said that it needs no other.
    is_guided: bool = False


@dataclass(frozen=True, slots=True)
class HandshakeRefused:
    """No link: they refused us, or we refused them (what `receive` returned must still be sent before closing)."""

    code: int
    text: str
    reason: DropReason
    peer: Peer | None


Result = Established | HandshakeRefused


class Initiator:
    """Our side when we dialled.

    `remote_host` is the IP that we dialled, told to the peer as Remote-IP.  `decide`, when given, is called once with what
    block 2 says, and may still refuse in block 3.  `become_leaf`, when given, is called where an ultrapeer tells us, who
    offered ourselves as one, that it needs no other (digest 1.5): True makes us its leaf, False ignores the hint.
    """

    def __init__(
        self,
        offer: Offer,
        remote_host: str,
        decide: Callable[[Peer], Refusal | None] | None = None,
        become_leaf: Callable[[Peer], bool] | None = None,
    ) -> None:
        self._become_leaf = become_leaf
        self._offer = offer
        self._remote_host = remote_host
        self._decide = decide
        self._reader = HeadReader()
        self.result: Result | None = None

    def start(self) -> bytes:
        """Block 1."""
        fields = self._offer.fields(self._remote_host)
        if self._offer.tls:
            fields.append(("Upgrade", "TLS/1.0"))
        return format_head("GNUTELLA CONNECT/0.6", fields)

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the peer's; what to send now.  RemoteViolation when they are no block 2."""
        if self.result is not None:
            raise LocalMisuse("the handshake is over")
        head = self._reader.feed(data)
        return b"" if head is None else self._answer(head)

    def _answer(self, head: Head) -> bytes:
        if head.first_line == "GNUTELLA OK":
            raise RemoteViolation(DropReason.HANDSHAKE_VERSION, "answered as Gnutella 0.4")
        code, text = _status(head)
        peer = read_peer(head.headers, "0.6")
        if code != 200:  # also 204, which gtk-gnutella's leaves use to say no
            self.result = HandshakeRefused(code, text, DropReason.HANDSHAKE_REFUSED, peer)
            return b""
        refusal = _first_objection((0, 6), peer) or (self._decide(peer) if self._decide else None)
        if refusal is not None:
            self.result = HandshakeRefused(refusal.code, refusal.text, refusal.reason, peer)
            return format_head(f"GNUTELLA/0.6 {refusal.code} {refusal.text}", ())
        we_deflate = self._offer.accepts_deflate and peer.accepts_deflate
        tls = self._offer.tls and peer.offers_tls
        fields = []
        if is_guided := self._is_guided(peer):
            fields.append(("X-Ultrapeer", "False"))
        if tls:
            fields.append(("Connection", "Upgrade"))
        if we_deflate:
            fields.append(("Content-Encoding", "deflate"))
        self.result = Established(peer, we_deflate, peer.deflates, tls, self._reader.rest, "0.6", is_guided)
        return format_head(_SUCCESS, fields)

    def _is_guided(self, peer: Peer) -> bool:
        is_asked = self._offer.is_ultrapeer and peer.is_ultrapeer is True and peer.ultrapeer_needed is False
        return is_asked and self._become_leaf is not None and self._become_leaf(peer)


class Acceptor:
    """Our side when we were dialled.

    `decide` is called once, with what block 1 says, and returns None to accept.  `remote_host` is the peer's IP as we see it.
    """

    def __init__(self, offer: Offer, remote_host: str, decide: Callable[[Peer], Refusal | None]) -> None:
        self._offer = offer
        self._remote_host = remote_host
        self._decide = decide
        self._reader = HeadReader()
        self._peer: Peer | None = None
        self._we_deflate = False
        self._offered_tls = False
        self.result: Result | None = None

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the peer's; what to send now.  RemoteViolation when they are no block 1 or 3."""
        if self.result is not None:
            raise LocalMisuse("the handshake is over")
        head = self._reader.feed(data)
        if head is None:
            return b""
        if self._peer is not None:
            self._close(head, self._peer)
            return b""
        answer = self._answer(head)
        if self.result is None:
            rest, self._reader = self._reader.rest, HeadReader()
            # A hasty initiator's block 3 may be here already; nothing is sent for it.
            self.receive(rest)
        return answer

    def use_offer(self, offer: Offer) -> None:
        """Say this of ourselves in block 2; `decide` may call it, since what block 1 says may change what we are."""
        self._offer = offer

    def complaint(self, reason: DropReason) -> bytes:
        """What to tell the peer when the edge gives up: an error block, or nothing once block 2 was sent."""
        if self._peer is not None or self.result is not None or not reason.http:
            return b""
        return format_head(f"GNUTELLA/0.6 {reason.http} {reason.value.replace('_', ' ')}", ())

    def _answer(self, head: Head) -> bytes:
        match = _CONNECT.match(head.first_line)
        if match is None:
            raise RemoteViolation(DropReason.HANDSHAKE_BROKEN, "the first line is no connect request")
        version = int(match[1]), int(match[2])
        peer = read_peer(head.headers, "0.4" if version == (0, 4) else "0.6")
        if "Crawler" in head.headers:
            return self._answer_crawler(peer)
        refusal = _first_objection(version, peer) or self._decide(peer)
        if refusal is not None:
            return self._refuse(refusal, peer)
        if peer.version == "0.4":
            self.result = Established(peer, False, False, False, self._reader.rest, "0.4")
            return format_head("GNUTELLA OK", (), "\n")
        self._peer = peer
        return self._accept(peer)

    def _accept(self, peer: Peer) -> bytes:
        offer = self._offer
        fields = offer.fields(self._remote_host)
        if offer.ultrapeer_needed is not None:
            fields.append(("X-Ultrapeer-Needed", str(offer.ultrapeer_needed)))
        self._offered_tls = offer.tls and peer.offers_tls
        if self._offered_tls:
            fields += [("Upgrade", "TLS/1.0"), ("Connection", "Upgrade")]
        self._we_deflate = offer.accepts_deflate and peer.accepts_deflate
        if self._we_deflate:
            fields.append(("Content-Encoding", "deflate"))
        fields += self._try_fields()
        return format_head(_SUCCESS, fields)

    def _close(self, head: Head, peer: Peer) -> None:
        """Block 3."""
        code, text = _status(head)
        if code != 200:
            self.result = HandshakeRefused(code, text, DropReason.HANDSHAKE_REFUSED, peer)
            return
        if head.headers.get("X-Ultrapeer").lower() == "false":
            peer = replace(peer, is_ultrapeer=False)  # it follows our guidance and becomes a leaf
        tls = self._offered_tls and "upgrade" in head.headers.tokens("Connection")
        they_deflate = "deflate" in head.headers.tokens("Content-Encoding")
        self.result = Established(peer, self._we_deflate, they_deflate, tls, self._reader.rest, "0.6")

    def _refuse(self, refusal: Refusal, peer: Peer) -> bytes:
        self.result = HandshakeRefused(refusal.code, refusal.text, refusal.reason, peer)
        fields = [
            ("User-Agent", self._offer.user_agent),
            ("Remote-IP", self._remote_host),
            ("X-Ultrapeer", str(self._offer.is_ultrapeer)),
        ]
        if self._offer.servent_id is not None:
            fields.append(("GUID", self._offer.servent_id.hex()))  # lets a servent see that it dialled itself
        if refusal.code not in SILENT_CODES:
            fields += self._try_fields()
        return format_head(f"GNUTELLA/0.6 {refusal.code} {refusal.text}", fields)

    def _answer_crawler(self, peer: Peer) -> bytes:
        self.result = HandshakeRefused(593, "Hi", DropReason.CRAWLER, peer)
        fields = [("User-Agent", self._offer.user_agent), ("X-Ultrapeer", str(self._offer.is_ultrapeer))]
        fields.append(("Peers", _join(self._offer.crawler_peers, ",")))
        fields.append(("Leaves", _join(self._offer.crawler_leaves, ",")))
        return format_head("GNUTELLA/0.6 593 Hi", fields)

    def _try_fields(self) -> list[tuple[str, str]]:
        lists = ((TRY_ULTRAPEERS, self._offer.try_ultrapeers), (TRY, self._offer.try_hosts))
        return [(name, _join(hosts, ", ")) for name, hosts in lists if hosts]


def _first_objection(version: tuple[int, int], peer: Peer) -> Refusal | None:
    if version < (0, 6) and version != (0, 4):
        return Refusal(503, "Gnutella 0.6 required", DropReason.HANDSHAKE_VERSION)
    if not peer.speaks_gnutella:
        return Refusal(406, "Protocol not acceptable", DropReason.NOT_GNUTELLA)
    return None


def _join(hosts: tuple[Address, ...], separator: str) -> str:
    return separator.join(map(str, hosts[:MAX_LISTED]))


def _status(head: Head) -> tuple[int, str]:
    match = _STATUS.match(head.first_line)
    if match is None:
        raise RemoteViolation(DropReason.HANDSHAKE_BROKEN, "the first line is no status line")
    text = "".join(c if c.isprintable() else "?" for c in match[2] or "")
    return int(match[1]), text[:MAX_REASON_TEXT]
