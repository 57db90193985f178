"""One connection between two nodes: cells over TLS over TCP.

Both sides send a HELLO as soon as TLS is open, and nothing else counts before the peer's has come and its proof holds.  Cells
are written to TLS in slices, so that records have few lengths.  When the transport pushes back, the owner hears that the link
is blocked; what waits then waits in the core.  A peer that breaks the protocol is cut off without a word.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from anonymizer.cells import Cell, Walker, slices
from anonymizer.descr import read
from anonymizer.reasons import Refusal, Violation
from anonymizer.tls import Session
from anonymizer.wire import MAX_CIRCUITS, MAX_HELLO_DESCRIPTOR, Bye, ByeReason, Hello, cell_of, parse
from gnutella.network.own_address import plain_host

#: Versions of the protocol that are spoken.
VERSIONS: Final = (1,)
#: From the connection to the peer's HELLO, and from our HELLO to that of the peer.
HANDSHAKE_S: Final = 10.0
HELLO_S: Final = 5.0
#: After this many bytes a link is made anew.
MAX_BYTES: Final = 64 << 30
#: What a peer that takes nothing may hold up the end of its connection.
CLOSE_S: Final = 5.0


class Owner(Protocol):
    """Who has the links."""

    def link_enters(self, link: Link) -> Refusal | None:
        """Somebody dialled us; why that is not taken into a handshake, None: it is."""

    def link_known(self, link: Link) -> Refusal | None:
        """TLS is open, so it is known who is there; why nothing is said to him, None: we say HELLO."""

    def hello(self) -> tuple[int, bytes]:
        """Our capabilities and descriptor, for a HELLO."""

    def link_open(self, link: Link, hello: Hello) -> None:
        """Its HELLO came and holds."""

    def link_received(self, link: Link, cells: list[Cell]) -> None:
        """Cells, after the HELLO."""

    def link_blocked(self, link: Link, is_blocked: bool) -> None:
        """Its transport pushes back, or takes bytes again."""

    def link_refused(self, link: Link, violation: Violation) -> None:
        """It is being cut off, for this."""

    def link_lost(self, link: Link) -> None:
        """Its connection is gone."""


@implementer(IPushProducer)
class Link(TwistedProtocol):
    """See the module text.  `settled` is called once when its handshake is over, well or badly."""

    transport: Any = None

    def __init__(
        self, owner: Owner, reactor: Any, session: Session, settled: Callable[[], None] = lambda: None
    ) -> None:
        self._owner, self._reactor, self.session, self._settled = owner, reactor, session, settled
        self._walker = Walker()
        self._deadline: Any = None
        self.host = ""
        self.is_open = False
        self.is_over = False
        self.is_blocked = False
        self.rx_bytes = self.tx_bytes = 0
        #: Cells after the HELLO: all, and the large ones of them.
        self.rx_cells = self.tx_cells = self.rx_large = self.tx_large = 0

    @property
    def counts(self) -> Counter[str]:
        """Bytes and cells, by their names in `anonymous status`."""
        return Counter(
            tx_bytes=self.tx_bytes,
            rx_bytes=self.rx_bytes,
            tx_large=self.tx_large,
            rx_large=self.rx_large,
            tx_small=self.tx_cells - self.tx_large,
            rx_small=self.rx_cells - self.rx_large,
        )

    @property
    def is_client(self) -> bool:
        """Whether we dialled."""
        return self.session.role == "client"

    @property
    def local_host(self) -> str:
        """The IP of our end."""
        return plain_host(getattr(self.transport.getHost(), "host", ""))

    @property
    def peer_id(self) -> bytes:
        """Who is at the other end; empty until TLS is open."""
        return self.session.peer_id

    def connectionMade(self) -> None:
        if self.is_over:
            self._abort()
            return
        self.host = plain_host(getattr(self.transport.getPeer(), "host", ""))
        self._wait(HANDSHAKE_S)
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)
        self.transport.registerProducer(self, True)
        if self.is_client:
            self._write(self.session.begin())
        elif (refusal := self._owner.link_enters(self)) is not None:
            self.cut(Violation(refusal))

    def dataReceived(self, data: bytes) -> None:
        if self.is_over:
            return
        self.rx_bytes += len(data)
        was_open = self.session.is_open
        try:
            pieces = self.session.feed(data)
            if not was_open:
                # Once it is open, what TLS itself has to say goes with the next cell.
                self._write(self.session.take())
            if self.session.is_open and not was_open:
                self._say_hello()
            self._hear(b"".join(pieces))
        except Violation as violation:
            self.cut(violation)
        if self.session.is_ended and not self.is_over:
            self._end()

    def _hear(self, data: bytes) -> None:
        cells: list[Cell] = []
        try:
            for cell in self._walker.feed(data):
                if self.is_open:
                    cells.append(cell)
                else:
                    self._greeted(cell)
                if self.is_over:
                    return
        finally:
            # What came in order before something broken counts.
            self.rx_cells += len(cells)
            self.rx_large += sum(cell.is_large for cell in cells)
            if cells and not self.is_over:
                self._owner.link_received(self, cells)

    # -- the first cell --------------------------------------------------------------------------------------------------

    def _say_hello(self) -> None:
        if (refusal := self._owner.link_known(self)) is not None:
            raise Violation(refusal)
        left = self._deadline.getTime() - self._reactor.seconds()
        self._deadline.reset(min(HELLO_S, left))
        capabilities, descriptor = self._owner.hello()
        if len(descriptor) > MAX_HELLO_DESCRIPTOR:
            descriptor = b""
        proof = self.session.proof(self.session.role)
        minute = int(self._reactor.seconds() // 60)
        self.send([cell_of(Hello(VERSIONS, capabilities, descriptor, proof, MAX_CIRCUITS, minute))])

    def _greeted(self, cell: Cell) -> None:
        hello = parse(cell)
        if not isinstance(hello, Hello) or not set(hello.versions) & set(VERSIONS):
            raise Violation(Refusal.HELLO_BROKEN)
        expected = self.session.proof("server" if self.is_client else "client")
        if not hmac.compare_digest(hello.proof, expected):
            raise Violation(Refusal.HELLO_PROOF)
        if hello.descriptor and read(hello.descriptor).node_id != self.peer_id:
            raise Violation(Refusal.HELLO_DESCRIPTOR)
        self._calm()
        self.is_open = True
        self._settle()
        self._owner.link_open(self, hello)

    # -- sending ---------------------------------------------------------------------------------------------------------

    def send(self, cells: Iterable[Cell]) -> None:
        """All of them, with one write to the transport; nothing happens when the link is over."""
        if self.is_over:
            return
        for cell in cells:
            self.tx_cells += 1
            self.tx_large += cell.is_large
            for piece in slices(cell.encode()):
                self.session.write(piece)
        self._write(self.session.take())

    def _write(self, data: bytes) -> None:
        if data:
            self.tx_bytes += len(data)
            self.transport.write(data)

    def pauseProducing(self) -> None:
        self._block(True)

    def resumeProducing(self) -> None:
        self._block(False)

    def stopProducing(self) -> None:
        """The transport will tell that the connection is lost."""

    def _block(self, is_blocked: bool) -> None:
        if self.is_blocked is not is_blocked:
            self.is_blocked = is_blocked
            if self.is_open:
                self._owner.link_blocked(self, is_blocked)

    # -- the end ---------------------------------------------------------------------------------------------------------

    def close(self, reason: ByeReason) -> None:
        """Say goodbye and close; whoever does not take it is cut off in a few seconds."""
        if self.is_over:
            return
        if self.transport is None:
            self.is_over = True  # still being dialled
            return
        if self.is_open:
            self.send([cell_of(Bye(reason))])
        self._end()

    def _end(self) -> None:
        self.is_over = True
        self._write(self.session.end())
        self._settle()
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._calm()
        self._deadline = self._reactor.callLater(CLOSE_S, self._abort)

    def cut(self, violation: Violation) -> None:
        """Cut it off, without a word."""
        if not self.is_over:
            self.is_over = True
            self._settle()
            self._calm()
            self._owner.link_refused(self, violation)
            self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_over = True
        self._calm()
        self._settle()
        self._owner.link_lost(self)

    def _wait(self, seconds: float) -> None:
        self._deadline = self._reactor.callLater(seconds, self._late)

    def _late(self) -> None:
        self.cut(Violation(Refusal.HELLO_LATE))

    def _calm(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def _settle(self) -> None:
        settled, self._settled = self._settled, lambda: None
        settled()
