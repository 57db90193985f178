"""The Twisted edge of the console, on a transport and a clock of strings: limits, push-back, endings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("twisted")

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from gnutella.control.table import Role
from gnutella.control.telnet import (
    AUTH_TIMEOUT_S,
    CLOSE_TIMEOUT_S,
    MAX_UNSENT,
    PROBE_S,
    SLOW_READER_S,
    ConsoleFactory,
    ConsoleProtocol,
    Crowd,
)
from gnutella.control.token import MAX_FAILURES, WINDOW_S, ensure_tokens
from gnutella.errors import RemoteViolation
from gnutella.reasons import DropReason
from gnutella.testing.fake_node import FakeNode, hit_row


class Line:
    """As much of a TCP transport as the console uses; full beyond `room` bytes, and with a file descriptor of its own."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.room = 1 << 30
        self.producer: ConsoleProtocol | None = None
        self.reading = True
        self.disconnecting = False
        self.aborted = False
        self.descriptor = os.open(os.devnull, os.O_RDONLY)

    def write(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > self.room and self.producer is not None:
            self.producer.pauseProducing()

    def said(self) -> str:
        """What was written since the last time; the reader has taken it."""
        text, self.data = self.data.decode(), bytearray()
        return text

    def registerProducer(self, producer: ConsoleProtocol, streaming: bool) -> None:
        self.producer = producer
        assert streaming

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True

    def fileno(self) -> int:
        return self.descriptor


class House:
    """A fake node with a console on it."""

    def __init__(self, directory: str) -> None:
        self.clock = Clock()
        self.node = FakeNode(directory, self.clock, self.clock.seconds)
        self.crowd = Crowd(self.clock, cap=3)
        self.lines: list[tuple[ConsoleProtocol, Line]] = []

    def open(self, *, needs_token: bool = False) -> tuple[ConsoleProtocol, Line]:
        factory = ConsoleFactory(self.node, self.clock, needs_token=needs_token, crowd=self.crowd)
        protocol, line = factory.buildProtocol(None), Line()
        cast("Any", protocol).makeConnection(line)
        self.lines.append((protocol, line))
        return protocol, line

    def machine(self) -> tuple[ConsoleProtocol, Line]:
        protocol, line = self.open()
        protocol.dataReceived(b"mode machine\n")
        line.said()
        return protocol, line


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(str(tmp_path))
    yield built
    for protocol, line in built.lines:
        if not protocol._gone:
            protocol.connectionLost(Failure(ConnectionDone()))
        os.close(line.descriptor)
    built.node.stop()
    assert not built.clock.getDelayedCalls()


def lost(protocol: ConsoleProtocol) -> None:
    protocol.connectionLost(Failure(ConnectionDone()))


def test_a_search_streams_and_ends_in_its_time(house: House) -> None:
    house.node.answers["alice"] = [hit_row("alice.txt", 5)]
    protocol, line = house.machine()
    protocol.dataReceived(b"search alice --wait 3\npeers\n")
    house.clock.advance(1)
    assert line.said().startswith('250-{"hit":1,"name":"alice.txt"')
    house.clock.advance(1.9)
    assert line.said() == ""
    house.clock.advance(0.2)
    end, peers = line.said().splitlines()
    assert end.startswith('250 {"rows":1,"guid":"')
    assert peers == '250 {"rows":0}'


def test_a_search_ends_at_its_limit(house: House) -> None:
    house.node.answers["a"] = [hit_row(f"a {number}", 1) for number in range(9)]
    protocol, line = house.machine()
    protocol.dataReceived(b"search a --limit 2\n")
    house.clock.pump([0.01] * 5)
    assert [text[:4] for text in line.said().splitlines()] == ["250-", "250-", "250 "]


def test_a_search_goes_as_far_as_it_is_told(house: House) -> None:
    protocol, line = house.machine()
    protocol.dataReceived(b"search a --ttl 2 --wait 0\n")
    protocol.dataReceived(b"search a --wait 0\n")
    protocol.dataReceived(b"search a --ttl two\n")
    house.clock.pump([0.01] * 5)
    assert house.node.ttls == [2, None]
    assert "'two': is no whole number" in line.said().splitlines()[-1]


def test_an_interrupted_search_ends_at_once_and_takes_no_more_hits(house: House) -> None:
    house.node.answers["a"] = [hit_row("a", 1), hit_row("b", 1)]
    house.node.hit_every_s = 5
    protocol, line = house.machine()
    protocol.dataReceived(b"search a --wait 100\n")
    house.clock.advance(5)
    protocol.dataReceived(b"\n")
    assert line.said().splitlines()[-1].startswith("250 ")
    house.clock.advance(5)
    assert line.said() == ""


def test_hits_are_addressed_by_the_session_that_searched_else_by_the_newest_search(house: House) -> None:
    house.node.answers.update(a=[hit_row("a.txt", 1)], b=[hit_row("b.txt", 1)])
    first, first_line = house.machine()
    second, _ = house.machine()
    third, third_line = house.machine()
    first.dataReceived(b"search a --wait 1\n")
    house.clock.advance(1)
    second.dataReceived(b"search b --wait 1\n")
    house.clock.advance(1)
    first_line.said()
    first.dataReceived(b"get 1\n")
    third.dataReceived(b"get 1\n")
    assert '"name":"a.txt"' in first_line.said()
    assert '"name":"b.txt"' in third_line.said()


def test_row_numbers_mean_the_rows_that_the_session_saw(house: House) -> None:
    protocol, line = house.machine()
    protocol.dataReceived(b"connect 1.1.1.1:5\nconnect 2.2.2.2:5\npeers\n")
    other, _ = house.machine()
    other.dataReceived(b"disconnect 1\n")
    assert [row["address"] for row in house.node.links] == ["2.2.2.2:5"]
    line.said()
    protocol.dataReceived(b"disconnect 2\ndisconnect 9\ndisconnect 1\n")
    replies = line.said().splitlines()
    assert '"address":"2.2.2.2:5"' in replies[0]
    assert replies[2].startswith("551 no row 9")
    assert replies[3].startswith("551 no link to 1.1.1.1:5")


def test_get_waits_until_it_is_done_fails_or_gives_up(house: House) -> None:
    house.node.answers.update(a=[hit_row("a", 900_000)], s=[hit_row("stuck", 1)], b=[hit_row("broken", 1)])
    protocol, line = house.machine()
    for words, last in (
        ("a", "250 "),
        ("s", "575 stuck is still queued after 5.0 s | "),
        ("b", "551 broken failed: no source"),
    ):
        protocol.dataReceived(f"search {words} --wait 1\nget 1 --wait 5\n".encode())
        house.clock.pump([0.1] * 100)
        assert line.said().splitlines()[-1].startswith(last)


def test_watching_ends_when_nothing_moves(house: House) -> None:
    house.node.answers["a"] = [hit_row("a", 900_000)]
    protocol, line = house.machine()
    protocol.dataReceived(b"search a --wait 1\n")
    house.clock.advance(1)
    line.said()
    protocol.dataReceived(b"get 1\ndownloads --watch\n")
    house.clock.pump([0.1] * 60)
    assert '"state":"done"' in line.said().splitlines()[-2]
    protocol.dataReceived(b"downloads --watch\n")
    assert line.said().splitlines()[-1] == '250 {"rows":1}'


def test_other_roles_than_off_of_the_relay_layer_are_refused_before_anything_is_sent(house: House) -> None:
    protocol, line = house.machine()
    protocol.dataReceived(b"search a --anonymous strict\nget 1 --anonymous on\nsearch a --anonymous off --wait 0\n")
    replies = line.said().splitlines()
    assert [reply[:3] for reply in replies] == ["578", "578", "551"]
    assert "relay layer is off" in replies[0]
    assert len(house.node.searches) == 1


def test_events_are_replayed_followed_and_filtered(house: House) -> None:
    protocol, line = house.machine()
    house.node.journal.add("share_changed", files=1, bytes=1)
    house.node.journal.add("node_stopping", reason="test")
    protocol.dataReceived(b"events --since 0 --type node_stopping\n")
    assert [text[:4] for text in line.said().splitlines()] == ["250-", "250 "]
    protocol.dataReceived(b"events --since 2 --wait 5\n")
    house.node.journal.add("share_changed", files=2, bytes=1)
    assert '"files":2' in line.said()
    house.clock.advance(5)
    assert line.said() == '250 {"rows":1}\n'


def test_many_short_commands_in_one_piece_do_not_deepen_the_stack(house: House) -> None:
    protocol, line = house.machine()
    protocol.dataReceived(b"peers\n" * 5000)
    assert line.said().count("250 ") == 5000


def test_input_stops_while_too_much_waits(house: House) -> None:
    protocol, line = house.machine()
    protocol.dataReceived(b"search a --wait 9\n" + b"peers\n" * 20000)
    assert not line.reading
    house.clock.advance(9)
    assert line.reading


def test_after_a_half_close_every_reply_comes_and_then_the_end(house: House) -> None:
    protocol, line = house.machine()
    protocol.dataReceived(b"search a --wait 3\nstatus")
    protocol.readConnectionLost()
    assert not line.disconnecting
    house.clock.advance(3)
    assert [text[:4] for text in line.said().splitlines()] == ["551 ", "250-", "250 "]
    assert line.disconnecting
    assert line.reading  # reading is not taken up again


def test_a_session_that_is_gone_altogether_is_noticed_while_its_command_runs(house: House) -> None:
    protocol, line = house.machine()
    reader, writer = os.pipe()
    os.dup2(writer, line.descriptor)
    os.close(writer)
    protocol.dataReceived(b"events --follow\n")
    protocol.readConnectionLost()
    house.clock.advance(PROBE_S)
    assert not line.aborted
    os.close(reader)  # the other end of a pipe: poll tells of it as it does for a socket
    house.clock.advance(PROBE_S)
    assert line.aborted


def test_a_lost_connection_stops_the_command_and_leaves_no_timer(house: House) -> None:
    protocol, _ = house.machine()
    protocol.dataReceived(b"search a --wait 50\n")
    lost(protocol)
    assert house.crowd.sessions == set()
    assert not [call for call in house.clock.getDelayedCalls() if call.getTime() > 40]


def test_a_reader_that_takes_nothing_is_cut_off_in_time(house: House) -> None:
    protocol, line = house.machine()
    protocol.pauseProducing()
    house.clock.advance(SLOW_READER_S - 1)
    assert not line.aborted
    house.clock.advance(1)
    assert line.aborted
    assert house.node.drops[DropReason.SLOW_READER] == 1


def test_a_reader_that_takes_again_is_kept(house: House) -> None:
    protocol, line = house.machine()
    protocol.pauseProducing()
    house.clock.advance(SLOW_READER_S - 1)
    protocol.resumeProducing()
    house.clock.advance(SLOW_READER_S)
    assert not line.aborted


def test_what_is_kept_for_a_full_reader_is_bounded(house: House) -> None:
    protocol, line = house.machine()
    protocol.pauseProducing()
    protocol.dataReceived(b"help\n" * 50)
    assert line.data == b""
    house.node.answers["a"] = [hit_row("x" * 5000, number) for number in range(1000)]
    protocol.resumeProducing()
    line.said()
    protocol.dataReceived(b"search a --wait 50\n")
    protocol.pauseProducing()
    house.clock.advance(40)
    assert line.aborted
    assert len(line.data) < MAX_UNSENT + 100_000


def test_a_long_listing_waits_for_a_full_reader(house: House) -> None:
    house.node.shared = [{"name": f"file {number}", "size": 1} for number in range(10_000)]
    protocol, line = house.machine()
    line.room = 1000
    protocol.dataReceived(b"share list\nstatus\n")
    assert 0 < line.said().count("250-") < 200
    line.room = 1 << 30
    protocol.resumeProducing()
    assert [text[:4] for text in line.said().splitlines()[-3:]] == ["250 ", "250-", "250 "]


def test_a_full_reader_is_told_its_events_later_with_the_gap(house: House) -> None:
    protocol, line = house.machine()
    protocol.dataReceived(b"events on\n")
    line.said()
    protocol.pauseProducing()
    house.node.journal._ring = type(house.node.journal._ring)(maxlen=2)
    for number in range(5):
        house.node.journal.add("share_changed", files=number, bytes=0)
    assert line.said() == ""
    protocol.resumeProducing()
    told = line.said().splitlines()
    assert len(told) == 3
    assert '"type":"gap","data":{"first":1,"last":3}' in told[0]


def test_sessions_are_capped(house: House) -> None:
    for _ in range(3):
        house.open()
    _, line = house.open()
    assert "too many consoles" in line.said()
    assert line.disconnecting
    lost(house.lines[0][0])
    _, line = house.open()
    assert "gnutella> " in line.said()


def test_who_names_no_token_in_time_is_sent_away(house: House) -> None:
    protocol, line = house.open(needs_token=True)
    protocol.dataReceived(b"\r\n")
    house.clock.advance(AUTH_TIMEOUT_S)
    assert line.disconnecting
    assert house.node.drops[DropReason.SLOW] == 1


def test_a_right_token_stops_that_clock_and_gives_its_role(house: House) -> None:
    tokens = ensure_tokens(house.node.directory)
    protocol, line = house.open(needs_token=True)
    protocol.dataReceived(tokens[Role.READ].encode() + b"\r\nmode machine\r\nshutdown\r\n")
    house.clock.advance(AUTH_TIMEOUT_S * 2)
    assert not line.disconnecting
    assert "577 shutdown needs the role admin" in line.said()
    assert not house.node.is_stopping


def test_wrong_tokens_are_limited_for_an_address_not_only_for_a_line(house: House) -> None:
    tokens = ensure_tokens(house.node.directory)
    for _ in range(MAX_FAILURES // 3 + 1):
        protocol, line = house.open(needs_token=True)
        protocol.dataReceived(b"a\nb\nc\n")
        assert line.disconnecting
        lost(protocol)
    assert house.node.drops[DropReason.BAD_TOKEN] >= MAX_FAILURES
    _, line = house.open(needs_token=True)
    assert "too many wrong tokens" in line.said()
    assert house.node.drops[DropReason.TOKEN_RATE] >= 1
    house.clock.advance(WINDOW_S)
    protocol, line = house.open(needs_token=True)
    protocol.dataReceived(tokens[Role.ADMIN].encode() + b"\n")
    assert "Welcome; role admin" in line.said()
    assert any(event.type == "control_refused" for event in house.node.journal.since(0))


def test_without_a_token_file_nobody_gets_in(house: House) -> None:
    protocol, line = house.open(needs_token=True)
    protocol.dataReceived(b"anything\n")
    assert "wrong token" in line.said()


@implementer(ILogObserver)
class Faults:
    """What was logged as a failure while it listened."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        if "log_failure" in event:
            self.found.append(str(event["log_failure"].value))


@pytest.fixture
def faults() -> Iterator[Faults]:
    observer = Faults()
    globalLogPublisher.addObserver(observer)
    yield observer
    globalLogPublisher.removeObserver(observer)


def test_a_fault_of_ours_is_logged_and_told_without_its_text(house: House, faults: Faults) -> None:
    def broken() -> Any:
        raise RuntimeError("secret detail")

    house.node.status = broken  # type: ignore[method-assign]
    protocol, line = house.machine()
    protocol.dataReceived(b"status\npeers\n")
    assert line.said().splitlines() == ["570 a fault of this node | its log tells more", '250 {"rows":0}']
    assert faults.found == ["secret detail"]


def test_a_peer_that_breaks_the_protocol_is_an_error_of_the_command(house: House) -> None:
    async def refuses(address: object) -> Any:
        raise RemoteViolation(DropReason.HANDSHAKE_BROKEN, "no blank line")

    house.node.connect = refuses  # type: ignore[method-assign]
    protocol, line = house.machine()
    protocol.dataReceived(b"connect 1.2.3.4:5\n")
    assert line.said() == "569 handshake_broken: no blank line\n"


def test_shutdown_is_answered_before_it_happens(house: House) -> None:
    protocol, line = house.machine()
    protocol.dataReceived(b"shutdown\n")
    assert line.said().splitlines() == ['250-{"stopping":true}', '250 {"rows":1}']
    assert house.node.is_stopping


def test_closing_the_house_waits_for_the_last_replies_but_not_long(house: House) -> None:
    taker, taking = house.machine()
    _, stuck = house.machine()
    closing = Deferred.fromCoroutine(house.crowd.close_all())
    assert taking.disconnecting and stuck.disconnecting
    lost(taker)
    house.clock.advance(CLOSE_TIMEOUT_S - 0.1)
    assert not stuck.aborted and not closing.called
    house.clock.advance(0.1)
    assert stuck.aborted
    lost(house.lines[1][0])
    assert closing.called


def test_closing_an_empty_house_takes_no_time(house: House) -> None:
    assert Deferred.fromCoroutine(house.crowd.close_all()).called


def test_closing_while_a_command_runs_ends_it_with_what_it_has(house: House) -> None:
    protocol, line = house.machine()
    protocol.dataReceived(b"events --since 0 --follow\n")
    closing = Deferred.fromCoroutine(house.crowd.close_all())
    assert line.said().startswith("250 ")
    lost(protocol)
    assert closing.called


def test_trace_lists_queries_and_tells_one(house: House) -> None:
    protocol, line = house.machine()
    protocol.dataReceived(b"search a --wait 0\ntrace\ntrace 1\ntrace " + b"f" * 32 + b"\n")
    replies = line.said().splitlines()
    assert '"words":"a"' in replies[1]
    assert replies[3].startswith('250-{"time":1700000000.25,"step":"sent"')
    assert replies[5].startswith("551 no trace of ffff")


def test_digits_that_name_no_traced_query_are_told_what_would(house: House) -> None:
    protocol, line = house.machine()
    protocol.dataReceived(b"trace 00\ntrace 12\ndisconnect 12\ntrace " + b"1" * 32 + b"\n")
    replies = line.said().splitlines()
    assert replies[0].startswith("564 ") and "no GUID of 32 hexadecimal digits" in replies[0]
    assert replies[1].startswith("551 no row 12, there are 0") and "32 hexadecimal digits" in replies[1]
    assert replies[2].startswith("551 no row 12, there are 0") and "hexadecimal" not in replies[2]
    assert replies[3].startswith("551 no trace of 1111")


def test_the_host_cache_is_listed_and_counted(house: House) -> None:
    house.node.known_hosts = [{"address": f"192.0.2.{n}:6346", "state": "good"} for n in range(1, 4)]
    protocol, line = house.machine()
    protocol.dataReceived(b"hosts --limit 2\n")
    said = line.said()
    assert [f'"192.0.2.{n}:6346"' in said for n in (1, 2, 3)] == [True, True, False]
    assert '"known":3' in said and '"next_try_s":null' in said
