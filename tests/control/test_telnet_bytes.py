"""Telnet bytes are taken out and refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.control.telnet_bytes import MAX_SUBNEGOTIATION, Heard, TelnetBytes
from gnutella.testing import strategies_control as some


@pytest.mark.parametrize(
    ("chunk", "heard"),
    [
        (b"status\r\n", Heard(b"status\r\n", b"", False)),
        (b"\xff\xfd\x01x", Heard(b"x", b"\xff\xfc\x01", False)),  # DO ECHO: WONT
        (b"\xff\xfb\x1f", Heard(b"", b"\xff\xfe\x1f", False)),  # WILL NAWS: DONT
        (b"\xff\xfe\x01\xff\xfc\x01", Heard(b"", b"", False)),  # DONT and WONT need no answer
        (b"\xff\xfd\x01\xff\xfd\x01", Heard(b"", b"\xff\xfc\x01", False)),  # asked twice, refused once: no loop
        (b"\xff\xf4\xff\xfd\x06", Heard(b"", b"\xff\xfc\x06", True)),  # Ctrl-C of telnet: IP, DO TIMING-MARK
        (b"a\x03b", Heard(b"ab", b"", True)),
        (b"\xff\xff", Heard(b"\xff", b"", False)),
        (b"a\xff\xfa\x1f\x00\x50\xff\xff\xff\xf0b", Heard(b"ab", b"", False)),  # a whole subnegotiation
        (b"\xff\xf6", Heard(b"", b"\r\n[yes]\r\n", False)),  # are you there
    ],
)
def test_commands_are_taken_out_and_refused(chunk: bytes, heard: Heard) -> None:
    assert TelnetBytes().receive(chunk) == heard


def test_a_subnegotiation_that_never_ends_is_given_up_at_the_limit() -> None:
    telnet = TelnetBytes()
    assert telnet.receive(b"\xff\xfa\x1f" + b"x" * (MAX_SUBNEGOTIATION - 1)).data == b""
    assert telnet.receive(b"xstatus\n").data == b"status\n"


def test_every_timing_mark_is_answered_since_the_client_waits_for_it() -> None:
    telnet = TelnetBytes()
    assert telnet.receive(b"\xff\xfd\x06").answer == telnet.receive(b"\xff\xfd\x06").answer == b"\xff\xfc\x06"


@given(stream=some.telnet_streams, data=st.data())
def test_any_cut_of_the_stream_is_heard_the_same(stream: bytes, data: st.DataObject) -> None:
    whole = TelnetBytes().receive(stream)
    telnet = TelnetBytes()
    parts = [telnet.receive(piece) for piece in data.draw(some.cuts(stream))]
    assert b"".join(part.data for part in parts) == whole.data
    assert b"".join(part.answer for part in parts) == whole.answer
    assert any(part.interrupt for part in parts) == whole.interrupt
