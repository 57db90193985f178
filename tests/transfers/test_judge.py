"""What answers of sources mean, in the spellings of the servents that are out there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import RemoteViolation
from gnutella.protocol.http import HeadReader, Span, read_response
from gnutella.protocol.urn import sha1_urn
from gnutella.reasons import DropReason
from gnutella.transfers import judge
from gnutella.transfers.judge import Bytes, Meaning, Moved, NotThere, Unknown, Unusable, Wait

SHA1 = bytes(range(20))
SIZE = 1000
ASKED = Span(100, 200)


def meaning(status: str, *fields: str, asked: Span | None = ASKED, size: int | None = SIZE) -> Meaning:
    head = HeadReader().feed("\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("latin-1"))
    assert head is not None
    return judge.judge(read_response(head), asked, SHA1, size)


def test_a_range_under_any_of_its_spellings_is_bytes() -> None:
    part = "Content-Range: bytes 100-199/1000"
    assert meaning("206 OK", part, "Content-Length: 100") == Bytes(ASKED, SIZE)
    assert meaning("200 OK", part) == Bytes(ASKED, SIZE)
    assert meaning("200 OK", "Content-Length: 100") == Bytes(ASKED, SIZE)
    assert meaning("206 OK", "Content-Range: bytes 100-149/*", "Content-Length: 50") == Bytes(Span(100, 150), SIZE)
    assert meaning("206 OK", "Transfer-Encoding: chunked") == Bytes(ASKED, SIZE)
    whole = Span(0, SIZE)
    assert meaning("200 OK", "Content-Length: 1000", asked=whole) == Bytes(whole, SIZE)
    assert meaning("200 OK", "Content-Length: 1000", asked=None, size=None) == Bytes(whole, SIZE)
    assert meaning("200 OK", "Content-Length: 0", asked=Span(0, 0), size=0) == Bytes(Span(0, 0), 0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (("Content-Range: bytes 100-199/1001", "Content-Length: 100"), DropReason.SOURCE_MISMATCH),
        (("X-Gnutella-Content-URN: " + sha1_urn(bytes(20)),), DropReason.SOURCE_MISMATCH),
        (("Content-Length: 1000",), DropReason.SOURCE_REFUSED),
        (("Content-Range: bytes 0-99/1000", "Content-Length: 100"), DropReason.SOURCE_REFUSED),
        (("Content-Range: bytes 100-299/1000", "Content-Length: 200"), DropReason.SOURCE_REFUSED),
        (("Content-Range: bytes 100-199/1000", "Content-Length: 99"), DropReason.SOURCE_REFUSED),
        (("Content-Range: nonsense", "Content-Length: 100"), DropReason.SOURCE_REFUSED),
        ((), DropReason.SOURCE_REFUSED),
    ],
)
def test_another_file_or_another_range_is_unusable(fields: tuple[str, ...], reason: DropReason) -> None:
    found = meaning("206 Partial", *fields)
    assert isinstance(found, Unusable) and found.reason is reason


def test_refusals() -> None:
    assert meaning("404 Not Found") == Unknown()
    assert meaning("416 Requested Range Unavailable") == NotThere()
    assert meaning("503 Busy") == Wait(judge.DEFAULT_WAIT_S)
    assert meaning("503 Busy", "Retry-After: 7") == Wait(7)
    assert meaning("503 Busy", "Retry-After: 0") == Wait(judge.MIN_WAIT_S)
    assert meaning("429 Slow down", "Retry-After: 300") == Wait(300)
    assert meaning("503 Queued", "X-Queue: position=2, pollMin=45, pollMax=120", "Retry-After: 60") == Wait(45, 2)
    assert isinstance(meaning("403 Forbidden"), Unusable)
    assert isinstance(meaning("550 Hostile"), Unusable)


def test_redirections_stay_on_the_host() -> None:
    assert meaning("301 Moved", "Location: /get/7/x") == Moved("/get/7/x")
    for location in ("http://elsewhere/", "//elsewhere/", "", "/" + "a" * judge.MAX_LOCATION, "/\xe9"):
        assert isinstance(meaning("301 Moved", f"Location: {location}"), Unusable)


@given(st.integers(100, 999), st.lists(st.sampled_from(
    ["Content-Length: 100", "Content-Length: 0", "Content-Range: bytes 0-0/1", "Content-Range: bytes 100-199/1000",
     "X-Queue: position=x", "Location: /", "Retry-After: -1", "Transfer-Encoding: chunked"]), max_size=4))  # fmt: skip
def test_bytes_are_never_outside_what_was_asked(status: int, fields: list[str]) -> None:
    try:
        found = meaning(f"{status} X", *fields)
    except RemoteViolation:
        return  # contradicting lengths
    if isinstance(found, Bytes):
        assert ASKED.start == found.span.start and found.span.stop <= ASKED.stop and found.total == SIZE
