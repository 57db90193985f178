"""The client's end of a connection, on a fake transport and clock: pieces, order, time-outs, and answers that misbehave."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gnutella.network.fetch import MAX_REFUSAL, Fetch, Kind, Request
from gnutella.protocol.http import ResponseHead, Span
from gnutella.reasons import DropReason
from gnutella.testing import strategies_http as strategies

NOTHING = Span(0, 0)


class Recorder:
    """An owner that wants every body of a 2xx and writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, object]] = []
        self.bodies: dict[str, bytes] = {}
        self.limit: int | None = None

    def opened(self, fetch: Fetch) -> None:
        self.heard.append(("opened", None))

    def answered(self, fetch: Fetch, request: Request, response: ResponseHead) -> int | None:
        self.heard.append(("answered", response.status))
        if response.status >= 300:
            return None
        return self.limit if self.limit is not None else response.length if response.length is not None else 10**6

    def received(self, fetch: Fetch, request: Request, data: bytes) -> None:
        assert data
        self.bodies[request.path] = self.bodies.get(request.path, b"") + data

    def completed(self, fetch: Fetch, request: Request, response: ResponseHead) -> None:
        self.heard.append(("completed", request.path))

    def lost(self, fetch: Fetch, reason: DropReason, detail: str) -> None:
        self.heard.append(("lost", reason))


class Line:
    """A connected Fetch."""

    def __init__(self) -> None:
        self.clock, self.owner = Clock(), Recorder()
        self.fetch = Fetch(self.clock, self.owner, "Test/1", 30.0, 180.0)
        self.transport = StringTransport()
        self.fetch.makeConnection(self.transport)  # type: ignore[no-untyped-call]

    def ask(self, path: str, kind: Kind = Kind.DATA, span: Span = NOTHING) -> None:
        self.fetch.ask(Request(kind, path, span), [])

    def lose(self) -> None:
        self.fetch.connectionLost(Failure(ConnectionDone()))


OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4), st.data())
def test_answers_in_any_pieces_reach_their_requests_in_order(bodies: list[bytes], data: st.DataObject) -> None:
    line = Line()
    wire = b""
    for number, body in enumerate(bodies):
        line.ask(f"/{number}")
        wire += data.draw(
            st.sampled_from(
                [
                    OK % (len(body), body),
                    b"HTTP/1.1 100 Continue\r\n\r\n" + OK % (len(body), body),
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n"
                    % (b"%x\r\n%b\r\n" % (len(body), body) if body else b""),
                ]
            )
        )
    for piece in data.draw(strategies.chunkings(wire)):
        line.fetch.dataReceived(piece)
    assert [path for kind, path in line.owner.heard if kind == "completed"] == [f"/{n}" for n in range(len(bodies))]
    assert line.owner.bodies == {f"/{n}": body for n, body in enumerate(bodies) if body}
    assert line.fetch.is_open and line.fetch.outstanding == 0 and line.fetch.is_proved


@given(st.binary(max_size=300))
def test_garbage_ends_the_connection_and_raises_nothing(data: bytes) -> None:
    line = Line()
    line.ask("/")
    line.fetch.dataReceived(b"HTTP/1.1 " + data)
    line.fetch.dataReceived(b"\r\n\r\n" + data)
    line.lose()
    assert line.owner.heard[-1][0] == "lost"


def test_a_request_is_written_with_its_range() -> None:
    line = Line()
    line.ask("/get/1/x", span=Span(5, 10))
    assert line.transport.value().startswith(
        b"GET /get/1/x HTTP/1.1\r\nHost: 192.168.1.1:54321\r\nUser-Agent: Test/1\r\nRange: bytes=5-9\r\n"
    )
    line.transport.clear()
    line.ask("/x", Kind.SIZE)
    assert line.transport.value().startswith(b"HEAD /x HTTP/1.1\r\n")


def test_an_answer_to_head_has_no_body() -> None:
    line = Line()
    line.ask("/x", Kind.SIZE)
    line.ask("/y")
    line.fetch.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + OK % (1, b"y"))
    assert line.owner.bodies == {"/y": b"y"}


def test_a_body_that_ends_with_the_connection_is_complete() -> None:
    line = Line()
    line.ask("/x")
    line.fetch.dataReceived(b"HTTP/1.0 200 OK\r\n\r\nsome")
    line.fetch.dataReceived(b"thing")
    line.lose()
    assert line.owner.bodies == {"/x": b"something"}
    assert ("completed", "/x") in line.owner.heard and not line.fetch.is_proved


def test_a_promised_body_that_stops_short_is_not_complete() -> None:
    line = Line()
    line.ask("/x")
    line.fetch.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
    line.lose()
    assert ("completed", "/x") not in line.owner.heard
    assert line.owner.heard[-1] == ("lost", DropReason.SOURCE_BROKE)


def test_more_body_than_wanted_and_answers_to_nothing_end_it() -> None:
    line = Line()
    line.owner.limit = 3
    line.ask("/x")
    line.fetch.dataReceived(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n")
    assert line.owner.heard[-1] == ("lost", DropReason.SOURCE_BROKE) and line.owner.bodies == {}
    idle = Line()
    idle.fetch.dataReceived(OK % (0, b""))
    assert idle.owner.heard[-1] == ("lost", DropReason.SOURCE_BROKE)


def test_a_refusal_is_skipped_but_not_a_long_one() -> None:
    line = Line()
    line.ask("/x")
    line.ask("/y")
    line.fetch.dataReceived(b"HTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\nwhy" + OK % (2, b"ok"))
    assert line.owner.bodies == {"/y": b"ok"}
    line.ask("/z")
    line.fetch.dataReceived(b"HTTP/1.1 404 No\r\nContent-Length: 999999\r\n\r\n" + bytes(MAX_REFUSAL + 1))
    assert line.owner.heard[-1][0] == "lost"


def test_an_answer_that_closes_ends_the_line_after_it() -> None:
    line = Line()
    line.ask("/x")
    line.fetch.dataReceived(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    assert line.owner.heard[-2:] == [("completed", "/x"), ("lost", DropReason.SOURCE_BROKE)]


def test_a_source_that_does_not_answer_or_stops_sending_is_slow() -> None:
    line = Line()
    line.fetch.sweep(10_000.0)  # nothing was asked: it may be silent
    assert line.fetch.is_open
    line.ask("/x")
    line.fetch.sweep(29.0)
    assert line.fetch.is_open
    line.fetch.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ns")
    line.fetch.sweep(179.0)
    assert line.fetch.is_open
    line.fetch.sweep(181.0)
    assert line.owner.heard[-1] == ("lost", DropReason.SOURCE_SLOW)
    silent = Line()
    silent.ask("/x")
    silent.fetch.sweep(31.0)
    assert silent.owner.heard[-1] == ("lost", DropReason.SOURCE_SLOW)


def test_a_closed_line_says_no_more() -> None:
    line = Line()
    line.ask("/x")
    line.fetch.close()
    line.fetch.dataReceived(OK % (2, b"ok"))
    line.lose()
    assert line.owner.heard == [("opened", None)] and not line.fetch.is_open
