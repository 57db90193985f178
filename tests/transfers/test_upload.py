"""Slots and pace of uploads, and answers that need no socket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gnutella.protocol.http import HeadReader, read_request
from gnutella.reasons import DropReason
from gnutella.sharing.catalog import Catalog, SharedFile
from gnutella.transfers.upload import (
    BURST_S,
    Answer,
    Refusal,
    SendBrowse,
    SendFile,
    SendGreeting,
    TokenBucket,
    UploadSlots,
    answer,
)

FILE = SharedFile(1, "e\u0301.bin", 100, 0, "/nowhere", b"\1" * 20, None)
CATALOG = Catalog.build([FILE])


def ask(text: str) -> Answer:
    head = HeadReader().feed(text.encode("latin-1") + b"\r\n\r\n")
    assert head is not None
    return answer(read_request(head), CATALOG)


def test_names_match_in_any_normal_form_but_nothing_else_does() -> None:
    for name in ("e%CC%81.bin", "%C3%A9.bin"):
        found = ask(f"GET /get/1/{name} HTTP/1.1")
        assert isinstance(found, SendFile) and found.file.name == FILE.name
    for name in ("E%CC%81.bin", "e.bin", "/nowhere", "%2Fnowhere"):
        assert ask(f"GET /get/1/{name} HTTP/1.1") == Refusal(404, DropReason.NOT_SHARED)


def test_an_empty_range_of_requests_is_told_by_status() -> None:
    found = ask("GET /get/1/%C3%A9.bin HTTP/1.1\r\nRange: bytes=0-99")
    assert isinstance(found, SendFile) and found.status == 200
    found = ask("GET /get/1/%C3%A9.bin HTTP/1.1\r\nRange: bytes=0-98")
    assert isinstance(found, SendFile) and found.status == 206
    assert dict(found.headers)["Content-Range"] == "bytes 0-98/100"


def test_the_root_is_for_browsers_of_both_kinds() -> None:
    assert ask("GET / HTTP/1.1") == SendGreeting()
    assert ask("GET / HTTP/1.1\r\nAccept: text/html, Application/X-Gnutella-Packets") == SendBrowse()
    assert ask("GET /gnutella/push-proxy?ServerId=A HTTP/1.1") == Refusal(400, DropReason.REQUEST_BROKEN)


def test_slots_are_bounded_in_total_and_for_each_host() -> None:
    slots = UploadSlots(3, 2)
    assert [slots.take("a"), slots.take("a"), slots.take("a")] == [None, None, DropReason.UPLOAD_PER_HOST]
    assert [slots.take("b"), slots.take("c")] == [None, DropReason.UPLOAD_SLOTS]
    slots.release("a")
    assert slots.take("c") is None and slots.taken == 3


def test_one_network_has_its_share_of_the_slots() -> None:
    slots = UploadSlots(20, 4)
    assert [slots.take(f"80.1.2.{n}") for n in range(6)] == [None] * 6
    assert slots.take("80.1.2.9") is DropReason.NETWORK_FULL
    assert slots.take("192.168.1.9") is None
    assert [slots.take(f"2600:1:2:3::{n}") for n in range(5)] == [None] * 4 + [DropReason.UPLOAD_PER_HOST]
    slots.release("80.1.2.0")
    slots.release("2600:1:2:3::99")
    assert [slots.take("80.1.2.9"), slots.take("2600:1:2:3::4")] == [None, None]


@given(st.integers(1, 10**6), st.lists(st.tuples(st.floats(0, 5), st.integers(0, 10**6)), max_size=30))
def test_no_more_goes_than_rate_and_burst_allow(rate: int, asks: list[tuple[float, int]]) -> None:
    bucket, now, sent = TokenBucket(rate, 0.0), 0.0, 0
    for pause, wanted in asks:
        now += pause
        granted = bucket.take(wanted, now)
        assert 0 <= granted <= wanted
        sent += granted
        assert sent <= rate * (now + BURST_S) + 1


def test_waiting_as_long_as_told_is_enough_and_debts_are_paid() -> None:
    bucket = TokenBucket(1000, 0.0)
    bucket.spend(2250, 0.0)
    assert bucket.take(1, 1.9) == 0
    wait = bucket.wait_s(100, 1.9)
    assert wait > 0 and bucket.take(100, 1.9 + wait + 1e-6) == 100
    unlimited = TokenBucket(0, 0.0)
    unlimited.spend(10**9, 0.0)
    assert unlimited.take(10**9, 0.0) == 10**9 and unlimited.wait_s(1, 0.0) == 0.0
