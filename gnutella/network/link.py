"""One connection to a peer, from the handshake to the Bye.

    shaking hands -> (starting TLS) -> open -> closing -> closed

While open it is thin: bytes go, inflated if the peer compresses, to its owner (network/links.py), and what the owner writes
goes, compressed if that was agreed, to the transport.  All decisions are the owner's.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol as Connection
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from gnutella.errors import RemoteViolation
from gnutella.network.own_address import plain_host
from gnutella.network.tls import PeerTls
from gnutella.protocol.deflate import Deflater, Inflater
from gnutella.protocol.handshake import Acceptor, Established, HandshakeRefused, Initiator, Offer, Peer, Refusal
from gnutella.reasons import DropReason
from gnutella.units import Address, Guid, LinkId

#: How long a peer may take to read our last words and close, before the connection is cut; a stop may take 5 s in all.
CLOSE_TIMEOUT_S = 3.0
#: Pause between our last block and our ClientHello.  gtk-gnutella takes it for an error when TLS is up after its first try, and
#: breaks the link: it happens when the ClientHello comes with the block and our Finished is back before it looks again, which
#: a near node is quick enough for.  If its first try finds nothing to read, all is well.
TLS_PAUSE_S = 0.1
#: Writes that may find bytes unsent before a link counts as blocked.  Each carries a batch (MAX_CORKED and one chunk at most),
#: so this is a burst of 2 MiB; a peer that drains its buffer in between starts anew.
MAX_LATE_WRITES = 16
#: Bytes that are held back under a cork at most, before they are written all the same.
MAX_CORKED = 64 * 1024
#: What one system call hands to the kernel at most: a whole burst.
SEND_LIMIT = 1024 * 1024


class Phase(Enum):
    """Where a link is in its life; members in order."""

    HANDSHAKE = "handshake"
    TLS = "tls"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class LinkOwner(Protocol):
    """What a link asks of whoever made it."""

    handshake_timeout_s: float
    tls: PeerTls | None

    def offer(self, link: PeerLink) -> Offer: ...
    def decide(self, link: PeerLink, peer: Peer) -> Refusal | None: ...
    def become_leaf(self, link: PeerLink, peer: Peer) -> bool: ...
    def link_ready(self, link: PeerLink) -> None: ...
    def link_failed(self, link: PeerLink, reason: DropReason, detail: str) -> None: ...
    def link_lost(self, link: PeerLink) -> None: ...
    def link_violated(self, link: PeerLink, violation: RemoteViolation) -> None: ...
    def link_received(self, link: PeerLink, data: bytes) -> None: ...
    def link_dirty(self, link: PeerLink) -> None: ...
    def link_blocked(self, link: PeerLink) -> None: ...
    def link_unblocked(self, link: PeerLink) -> None: ...


@implementer(IHandshakeListener, IPushProducer)
class PeerLink(Connection):
    """The protocol of one link.  `dialled` is what we dialled, None when the peer dialled us.

    `id` is 0 until the link is open.  `settled` is called once when the handshake is over, well or badly.
    """

    transport: Any

    def __init__(
        self, owner: LinkOwner, reactor: Any, dialled: Address | None, settled: Callable[[], None] | None = None
    ) -> None:
        self._owner = owner
        self._reactor = reactor
        self._settled = settled
        self._machine: Initiator | Acceptor | None = None
        self._timer: Any = None
        self._tls_pause: Any = None
        self._inflater: Inflater | None = None
        self._deflater: Deflater | None = None
        self._late_writes = 0
        #: What waits for the end of the cork; None: no cork is on, the next write goes out at once.
        self._corked: list[bytes] | None = None
        self._corked_bytes = 0
        self.dialled = dialled
        self.id = LinkId(0)
        self.phase = Phase.HANDSHAKE
        self.host = ""
        self.port = 0
        self.local_host = ""
        self.began_at: float = reactor.seconds()
        self.opened_at = 0.0
        self.result: Established | None = None
        self.refusal: HandshakeRefused | None = None
        self.peer: Peer | None = None
        self.is_accepted = False
        #: What we told the peer that we are, and what we are to it since.
        self.we_are_leaf = False
        self.is_tls = False
        self.is_blocked = False
        self.closed_for: tuple[DropReason, str] = (DropReason.PEER_CLOSED, "")
        #: Writes bytes of the message stream: batches of whole messages.
        self.write: Callable[[bytes], object] = self._write_nothing

    # -- what others ask -----------------------------------------------------------------------------------------------

    @property
    def incoming(self) -> bool:
        return self.dialled is None

    @property
    def is_leaf(self) -> bool:
        return self.peer is not None and self.peer.is_ultrapeer is False

    @property
    def servent_id(self) -> Guid | None:
        return None if self.peer is None else self.peer.servent_id

    @property
    def deflates(self) -> tuple[bool, bool]:
        """Whether what comes, and what goes, is compressed."""
        return self._inflater is not None, self._deflater is not None

    @property
    def reached_at(self) -> Address | None:
        """Where the peer can be dialled, if it is known: what we dialled, or its own port at the address it came from."""
        if self.dialled is not None:
            return Address(self.host or self.dialled.host, self.dialled.port)
        if self.peer is not None and self.peer.listen is not None:
            return Address(self.host, self.peer.listen.port)
        return None

    @property
    def address(self) -> Address:
        """What this link is called: `reached_at`, else the address of the socket."""
        return self.reached_at or Address(self.host, self.port)

    # -- connection ----------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        peer = self.transport.getPeer()
        self.host, self.port = plain_host(peer.host), peer.port
        self.local_host = plain_host(self.transport.getHost().host)
        self.is_tls = bool(getattr(self.transport, "TLS", False))
        self._timer = self._reactor.callLater(self._owner.handshake_timeout_s, self._too_slow)
        offer = self._offer()
        if self.incoming:
            self._machine = Acceptor(offer, self.host, self._decide)
        else:
            self._machine = initiator = Initiator(offer, self.host, self._decide, self._become_leaf)
            self.transport.write(initiator.start())

    def dataReceived(self, data: bytes) -> None:
        if self.phase is Phase.OPEN:
            if self._inflater is None:
                self._owner.link_received(self, data)
            else:
                self._receive_deflated(self._inflater, data)
        elif self.phase is Phase.HANDSHAKE and self._machine is not None:
            self._shake(self._machine, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        was, self.phase = self.phase, Phase.CLOSED
        self._stop_timer()
        self.write = self._write_nothing
        if was is Phase.HANDSHAKE or was is Phase.TLS:
            why = DropReason.TLS_FAILED if was is Phase.TLS else DropReason.PEER_CLOSED
            self._fail(why, "" if reason.check(ConnectionDone) else "the connection broke")
        self._owner.link_lost(self)

    # -- handshake -----------------------------------------------------------------------------------------------------

    def _offer(self) -> Offer:
        offer = self._owner.offer(self)
        self.we_are_leaf = not offer.is_ultrapeer
        return offer

    def _become_leaf(self, peer: Peer) -> bool:
        self.we_are_leaf = self._owner.become_leaf(self, peer)
        return self.we_are_leaf

    def _decide(self, peer: Peer) -> Refusal | None:
        refusal = self._owner.decide(self, peer)
        if refusal is None:
            self.peer, self.is_accepted = peer, True
        if isinstance(self._machine, Acceptor):
            self._machine.use_offer(self._offer())
        return refusal

    def _shake(self, machine: Initiator | Acceptor, data: bytes) -> None:
        try:
            answer = machine.receive(data)
        except RemoteViolation as violation:
            self._give_up(violation.reason, violation.detail)
            return
        if answer:
            self.transport.write(answer)
        result = machine.result
        if isinstance(result, HandshakeRefused):
            self.refusal = result
            self._fail(result.reason, f"{result.code} {result.text}".strip())
            self._hang_up()
        elif result is not None:
            self._established(result)

    def _established(self, result: Established) -> None:
        self._machine = None
        self.result, self.peer = result, result.peer
        if not result.tls:
            self._open(result.surplus)
            return
        self.phase = Phase.TLS
        self.is_tls = True
        if self.incoming:
            self._start_tls(result.surplus)
        else:
            self._tls_pause = self._reactor.callLater(TLS_PAUSE_S, self._start_tls, result.surplus)

    def _start_tls(self, surplus: bytes) -> None:
        tls = self._owner.tls
        assert tls is not None  # we offered it
        self.transport.startTLS(tls.server if self.incoming else tls.client)
        if surplus:
            self.transport.protocol.dataReceived(surplus)

    def handshakeCompleted(self) -> None:
        """TLS is up (Twisted calls this); a link that came inside TLS knows already."""
        if self.phase is Phase.TLS:
            self._open(b"")

    def _open(self, surplus: bytes) -> None:
        assert self.result is not None
        self._stop_timer()
        self._settle()
        self.phase = Phase.OPEN
        self._inflater = Inflater() if self.result.they_deflate else None
        self._deflater = Deflater() if self.result.we_deflate else None
        self.write = self._write_plain if self._deflater is None else self._write_deflated
        self.opened_at = self._reactor.seconds()
        if ITCPTransport.providedBy(self.transport):
            # Batches are written whole; waiting for more would only delay them.
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.SEND_LIMIT = SEND_LIMIT
        self.transport.registerProducer(self, True)
        self._owner.link_ready(self)
        if surplus:
            self.dataReceived(surplus)

    def _too_slow(self) -> None:
        self._give_up(DropReason.SLOW, f"no link after {self._owner.handshake_timeout_s:g} s")

    def _give_up(self, reason: DropReason, detail: str) -> None:
        if isinstance(self._machine, Acceptor) and (words := self._machine.complaint(reason)):
            self.transport.write(words)
        self._fail(reason, detail)
        self._hang_up()

    def _fail(self, reason: DropReason, detail: str) -> None:
        self._machine = None
        self.is_accepted = False
        self._settle()
        self._owner.link_failed(self, reason, detail)

    def _settle(self) -> None:
        settled, self._settled = self._settled, None
        if settled is not None:
            settled()

    # -- the message stream --------------------------------------------------------------------------------------------

    def _receive_deflated(self, inflater: Inflater, data: bytes) -> None:
        try:
            for piece in inflater.feed(data):
                self._owner.link_received(self, piece)
                if self.phase is not Phase.OPEN:
                    return
        except RemoteViolation as violation:
            self._owner.link_violated(self, violation)

    def _write_plain(self, data: bytes) -> None:
        """The first write after a pause goes out at once; those that follow wait for the end of the cork.

        A system call for each small batch and link costs several times what the router needs for it.
        """
        corked = self._corked
        if corked is None:
            self._corked = []
            self._owner.link_dirty(self)
            self.transport.write(data)
            return
        corked.append(data)
        self._corked_bytes += len(data)
        if self._corked_bytes > MAX_CORKED:
            self._write_corked(corked)

    def _write_corked(self, corked: list[bytes]) -> None:
        self._corked, self._corked_bytes = [], 0
        self.transport.write(corked[0] if len(corked) == 1 else b"".join(corked))

    def _write_deflated(self, data: bytes) -> None:
        deflater = self._deflater
        assert deflater is not None
        if not deflater.is_pending:
            self._owner.link_dirty(self)
        if ready := deflater.compress(data):
            self.transport.write(ready)

    def flush(self) -> bool:
        """End of a cork: write what was held back or compressed; whether another cork follows, since the link is busy."""
        if self.phase is not Phase.OPEN:
            return False
        if self._deflater is not None:
            if self._deflater.is_pending:
                self.transport.write(self._deflater.flush())
            return False
        corked = self._corked
        if not corked:
            self._corked = None
            return False
        self._write_corked(corked)
        return True

    def _write_nothing(self, data: bytes) -> None:
        """Before the link is open and after it is closed."""

    def pauseProducing(self) -> None:
        """The transport has unsent bytes; Twisted calls this at each write that finds more than 64 KiB of them."""
        self._late_writes += 1
        if not self.is_blocked and (self.is_tls or self._late_writes > MAX_LATE_WRITES):
            self.is_blocked = True
            self._owner.link_blocked(self)

    def resumeProducing(self) -> None:
        """The transport has sent everything."""
        self._late_writes = 0
        if self.is_blocked:
            self.is_blocked = False
            self._owner.link_unblocked(self)

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` does what is to be done."""

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self, reason: DropReason, detail: str = "", last_words: bytes = b"") -> None:
        """Close for `reason`, after `last_words` of the message stream if the peer takes them in time."""
        if self.phase is Phase.HANDSHAKE or self.phase is Phase.TLS:
            self._fail(reason, detail)
        elif self.phase is not Phase.OPEN:
            return
        if self.transport is None:  # still being dialled
            self.phase = Phase.CLOSED
            return
        self.closed_for = (reason, detail)
        if last_words and self.phase is Phase.OPEN:
            self.write(last_words)
            self.flush()
        self._hang_up(is_polite=bool(last_words))

    def abort(self) -> None:
        """Cut the connection."""
        if self.phase is not Phase.CLOSED and self.transport is not None:
            self.transport.abortConnection()

    def _hang_up(self, *, is_polite: bool = False) -> None:
        if self.phase is Phase.OPEN:
            self.transport.unregisterProducer()
        self.phase = Phase.CLOSING
        self.write = self._write_nothing
        self._stop_timer()
        self._timer = self._reactor.callLater(CLOSE_TIMEOUT_S, self.abort)
        if is_polite and not self.is_tls and ITCPTransport.providedBy(self.transport):
            # Half-close: a full close while bytes of the peer's are unread would destroy the Bye on its way.
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()

    def _stop_timer(self) -> None:
        for timer in (self._timer, self._tls_pause):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._tls_pause = None
