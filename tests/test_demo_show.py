"""How the demo's lines are laid out: folded to the terminal, never inside a fact."""

from __future__ import annotations

import io

import pytest

from gnutella.demo_show import Show, folded

LINE = "urn:sha1:PB3MRPJTW6OOXWHFSTAWMKRIG5SGXDUZ   1 file   first hit 44 ms   6 messages"


def test_a_line_that_fits_stays_as_it_is() -> None:
    assert folded(LINE, 100) == [LINE]
    assert folded("  found   edge-1 → hub-1", 5) == ["  found", "    edge-1 → hub-1"]


def test_a_long_line_is_broken_between_its_facts() -> None:
    assert folded(LINE, 75) == [LINE.removesuffix("   6 messages"), "    6 messages"]
    assert "".join(folded(LINE, 20)).split() == LINE.split()


def test_the_ending_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = io.StringIO()
    Show(False, out).ending(1.0)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert all(len(line) < 80 for line in lines)


def test_what_was_dropped_is_said_in_words() -> None:
    out = io.StringIO()
    Show(False, out).traffic([{"messages_rx_ping": 1, "bytes_rx": 9, "dropped_connect_back": 3, "dropped_bad_push": 1}])
    assert "dropped  bad push 1   probes of a port 3" in out.getvalue()
