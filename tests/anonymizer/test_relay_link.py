"""One link on a fake clock and without a socket: who speaks first, what is refused and when, and what is written how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from anonymizer.cells import LARGE_BODY, SMALL_SIZE, TLS_SLICE, Cell
from anonymizer.link import HANDSHAKE_S, HELLO_S, Link
from anonymizer.reasons import Refusal, Violation
from anonymizer.tls import RelayTls, Session
from anonymizer.wire import Bye, ByeReason, Ciphertext, Hello, Pad, Ping, cell_of, parse
from gnutella.testing.relay_nodes import descriptor_of, signing_key

ONE, TWO = (RelayTls(signing_key(number)) for number in (1, 2))
#: What TLS adds to each record.
RECORD = 22


class Keeper:
    """link.Owner that keeps what it is told; `refuses` is its answer to who enters."""

    def __init__(self, number: int) -> None:
        self.descriptor = descriptor_of(number).data
        self.refuses: Refusal | None = None
        self.opened: list[Hello] = []
        self.cells: list[Cell] = []
        self.blocked: list[bool] = []
        self.refused: list[Refusal] = []
        self.lost = 0

    def link_enters(self, link: Link) -> Refusal | None:
        return self.refuses

    def link_known(self, link: Link) -> Refusal | None:
        return None

    def hello(self) -> tuple[int, bytes]:
        return 3, self.descriptor

    def link_open(self, link: Link, hello: Hello) -> None:
        self.opened.append(hello)

    def link_received(self, link: Link, cells: list[Cell]) -> None:
        self.cells += cells

    def link_blocked(self, link: Link, is_blocked: bool) -> None:
        self.blocked.append(is_blocked)

    def link_refused(self, link: Link, violation: Violation) -> None:
        self.refused.append(violation.reason)

    def link_lost(self, link: Link) -> None:
        self.lost += 1


class Side:
    """A link, its owner and its transport."""

    def __init__(self, clock: Clock, number: int, session: Session, settled: Callable[[], None] = lambda: None) -> None:
        self.owner = Keeper(number)
        self.link = Link(self.owner, clock, session, settled)
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", "80.1.2.3", 5000))

    def begin(self) -> None:
        self.link.makeConnection(self.transport)  # type: ignore[no-untyped-call]

    def take(self) -> bytes:
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def lose(self) -> None:
        self.link.connectionLost(Failure(ConnectionDone()))


class Pair:
    """Both sides; `carry` moves bytes until all is quiet."""

    def __init__(self) -> None:
        self.clock, self.settled = Clock(), 0
        self.client = Side(self.clock, 1, ONE.client(TWO.node_id))
        self.server = Side(self.clock, 2, TWO.server(), self._settle)

    def _settle(self) -> None:
        self.settled += 1

    def begin(self) -> None:
        self.client.begin()
        self.server.begin()

    def open(self) -> Pair:
        self.begin()
        self.carry()
        assert self.client.link.is_open and self.server.link.is_open
        return self

    def carry(self) -> None:
        for _ in range(6):
            self.server.link.dataReceived(self.client.take())
            self.client.link.dataReceived(self.server.take())


def test_both_say_hello_and_are_open() -> None:
    pair = Pair().open()
    for side, other in ((pair.client, 2), (pair.server, 1)):
        (hello,) = side.owner.opened
        assert (hello.capabilities, hello.descriptor) == (3, descriptor_of(other).data)
        assert side.link.peer_id == descriptor_of(other).node_id
        assert side.link.host == "80.1.2.3"
    assert pair.settled == 1
    assert pair.clock.getDelayedCalls() == []


def test_neither_waits_for_the_others_hello() -> None:
    pair = Pair()
    pair.begin()
    pair.server.link.dataReceived(pair.client.take())
    pair.client.link.dataReceived(pair.server.take())
    assert len(pair.client.transport.value()) > SMALL_SIZE  # with the last part of its handshake
    pair.server.link.dataReceived(pair.client.take())
    assert pair.server.link.is_open and len(pair.server.transport.value()) > SMALL_SIZE


def test_a_descriptor_too_long_for_a_hello_is_left_to_gossip() -> None:
    pair = Pair()
    pair.server.owner.descriptor = bytes(1_281)
    pair.open()
    assert pair.client.owner.opened[0].descriptor == b""


def test_cells_come_in_order_in_records_of_one_slice() -> None:
    pair = Pair().open()
    cells = [cell_of(Ciphertext(bytes([7]) * LARGE_BODY), 9), cell_of(Ping(bytes(8))), cell_of(Pad())]
    pair.client.link.send(cells)
    sent = pair.client.take()
    lengths, at = [], 0
    while at < len(sent):
        lengths.append(int.from_bytes(sent[at + 3 : at + 5], "big") + 5)
        at += lengths[-1]
    assert lengths == [TLS_SLICE + RECORD] * 3 + [SMALL_SIZE + RECORD] * 2
    for byte in range(0, len(sent), 5_000):
        pair.server.link.dataReceived(sent[byte : byte + 5_000])
    assert pair.server.owner.cells == cells


def test_a_link_that_pushes_back_is_blocked_until_it_takes_again() -> None:
    pair = Pair()
    pair.begin()
    assert pair.client.transport.producer is pair.client.link and pair.client.transport.streaming
    pair.client.link.pauseProducing()  # nobody knows it yet
    pair.client.link.resumeProducing()
    pair.carry()
    pair.client.link.pauseProducing()
    pair.client.link.pauseProducing()
    pair.client.link.resumeProducing()
    assert pair.client.owner.blocked == [True, False]


@pytest.mark.parametrize("is_server", [False, True])
def test_a_silent_peer_is_cut_off_after_ten_seconds(is_server: bool) -> None:
    pair = Pair()
    pair.begin()
    side = pair.server if is_server else pair.client
    pair.clock.advance(HANDSHAKE_S - 0.1)
    assert not side.transport.disconnected and side.owner.refused == []
    pair.clock.advance(0.1)
    assert side.transport.disconnected and side.owner.refused == [Refusal.HELLO_LATE]
    assert pair.settled == 1


def test_a_peer_without_a_hello_is_cut_off_after_five_seconds() -> None:
    pair = Pair()
    pair.begin()
    session = ONE.client(TWO.node_id)
    pair.server.link.dataReceived(session.begin())
    session.feed(pair.server.take())
    pair.server.link.dataReceived(session.take())
    assert session.is_open
    pair.clock.advance(HELLO_S)
    assert pair.server.owner.refused == [Refusal.HELLO_LATE] and pair.server.transport.disconnected


def test_a_slow_handshake_and_a_hello_have_ten_seconds_together() -> None:
    pair = Pair()
    pair.begin()
    pair.clock.advance(HANDSHAKE_S - 1.0)
    session = ONE.client(TWO.node_id)
    pair.server.link.dataReceived(session.begin())
    session.feed(pair.server.take())
    pair.server.link.dataReceived(session.take())
    pair.clock.advance(1.0)
    assert pair.server.owner.refused == [Refusal.HELLO_LATE]


@pytest.mark.parametrize("is_shaken", [False, True])
def test_a_byte_a_second_buys_no_time(is_shaken: bool) -> None:
    """In the handshake, or in the first cell."""
    pair = Pair()
    pair.begin()
    session = ONE.client(TWO.node_id)
    drip = session.begin()
    if is_shaken:
        pair.server.link.dataReceived(drip)
        session.feed(pair.server.take())
        pair.server.link.dataReceived(session.take())
        session.write(cell_of(hello(session)).encode())
        drip = session.take()
    seconds = 0
    while not pair.server.transport.disconnected and seconds < len(drip):
        pair.server.link.dataReceived(drip[seconds : seconds + 1])
        pair.clock.advance(1.0)
        seconds += 1
    assert seconds == (HELLO_S if is_shaken else HANDSHAKE_S) and pair.server.owner.refused == [Refusal.HELLO_LATE]


def hello(session: Session, **changed: Any) -> Hello:
    fields: dict[str, Any] = {"versions": (1,), "capabilities": 1, "descriptor": b"", "circuits": 256, "minute": 0}
    fields |= {"proof": session.proof(session.role)} | changed
    return Hello(**fields)


def greet(body: Any) -> Side:
    """The server's side after TLS, and a client of another make that says what `body` makes of its session."""
    pair = Pair()
    pair.begin()
    session = ONE.client(TWO.node_id)
    pair.server.link.dataReceived(session.begin())
    session.feed(pair.server.take())
    pair.server.link.dataReceived(session.take())
    for cell in body(session):
        session.write(cell.encode() if isinstance(cell, Cell) else cell)
    pair.server.transport.clear()
    pair.server.link.dataReceived(session.take())
    return pair.server


def test_a_hello_of_another_make_is_taken() -> None:
    assert greet(lambda session: [cell_of(hello(session))]).link.is_open


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lambda s: [cell_of(hello(s, proof=bytes(32)))], Refusal.HELLO_PROOF),
        (lambda s: [cell_of(hello(s, proof=s.proof("server")))], Refusal.HELLO_PROOF),
        (lambda s: [cell_of(hello(s, versions=(2, 9)))], Refusal.HELLO_BROKEN),
        (lambda s: [cell_of(hello(s, descriptor=descriptor_of(3).data))], Refusal.HELLO_DESCRIPTOR),
        (lambda s: [cell_of(hello(s, descriptor=b"rubbish"))], Refusal.DESCRIPTOR_BROKEN),
        (lambda s: [cell_of(Ping(bytes(8)))], Refusal.HELLO_BROKEN),
        (lambda s: [bytes(SMALL_SIZE)], Refusal.BAD_VERSION),
    ],
)
def test_a_first_cell_that_does_not_hold_is_cut_off_without_a_word(body: Any, reason: Refusal) -> None:
    side = greet(body)
    assert side.owner.refused == [reason] and side.owner.opened == []
    assert side.transport.disconnected and side.transport.value() == b""


def test_a_proof_of_another_session_is_refused() -> None:
    """Somebody who ends TLS on both sides, and passes on all that is said in it, does not get past the first cell."""
    victim, spliced = Pair(), Pair()
    victim.open()
    said: list[Cell] = [cell_of(hello(victim.client.link.session))]
    side = greet(lambda session: said)
    assert side.owner.refused == [Refusal.HELLO_PROOF]
    assert spliced.settled == 0


def test_cells_before_a_broken_one_count_and_none_after_it() -> None:
    pair = Pair().open()
    for data in (cell_of(Ping(b"elephant")).encode(), bytes(SMALL_SIZE), cell_of(Pad()).encode()):
        pair.client.link.session.write(data)
    pair.server.link.dataReceived(pair.client.link.session.take())
    assert pair.server.owner.cells == [cell_of(Ping(b"elephant"))]
    assert pair.server.owner.refused == [Refusal.BAD_VERSION] and pair.server.transport.disconnected
    pair.server.link.dataReceived(b"more")
    assert pair.server.owner.refused == [Refusal.BAD_VERSION]


def test_who_is_not_let_in_is_cut_off_before_anything_is_read() -> None:
    pair = Pair()
    pair.server.owner.refuses = Refusal.HALF_OPEN
    pair.begin()
    assert pair.server.transport.disconnected and pair.server.owner.refused == [Refusal.HALF_OPEN]
    pair.server.link.dataReceived(pair.client.take())
    assert pair.server.transport.value() == b""


def test_a_goodbye_is_heard_and_the_connection_ends_on_both_sides() -> None:
    pair = Pair().open()
    pair.client.link.close(ByeReason.UNWANTED)
    pair.client.link.send([cell_of(Pad())])  # too late
    assert pair.client.transport.disconnecting
    pair.server.link.dataReceived(pair.client.take())
    assert [parse(cell) for cell in pair.server.owner.cells] == [Bye(ByeReason.UNWANTED)]
    assert pair.server.transport.disconnecting and pair.server.owner.refused == []
    pair.clock.advance(60.0)
    assert pair.client.transport.disconnected  # whoever takes nothing is cut off
    for side in (pair.client, pair.server):
        side.lose()
        assert side.owner.lost == 1
    assert pair.clock.getDelayedCalls() == []


def test_a_link_that_is_given_up_while_it_is_dialled_says_nothing() -> None:
    pair = Pair()
    pair.client.link.close(ByeReason.STOPPING)
    pair.client.begin()
    assert pair.client.transport.disconnected and pair.client.transport.value() == b""
    pair.client.lose()
    assert pair.client.owner.lost == 1 and pair.clock.getDelayedCalls() == []
