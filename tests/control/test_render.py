"""Tables, bars and screens: they fit, they line up, and nothing in them can act on a terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.control.commands import by_name
from gnutella.control.grammar import Invocation
from gnutella.control.live import MAX_BARS, LiveBars
from gnutella.control.printers import doctor_lines, event_line, printer_for, status_lines
from gnutella.control.render import SAMPLE_ROWS, Table, bar, cells_of, fit, fit_end, printable, progress_line
from gnutella.control.table import Column
from gnutella.testing import strategies_control as some

COLUMNS = by_name("search.start").columns


def test_control_characters_become_visible_escapes() -> None:
    assert printable("a\x1b[2Jb\x9b\u202e\n") == "a\\x1b[2Jb\\x9b\\u202e\\n"
    assert printable("Ärger アリス.txt") == "Ärger アリス.txt"


@given(some.names)
def test_what_is_printable_stays_and_all_else_goes(text: str) -> None:
    assert printable(text).isprintable()


@given(st.text(st.characters(exclude_categories=["Cs"])).map(printable), st.integers(1, 40))
def test_text_is_fitted_to_exactly_its_columns(text: str, width: int) -> None:
    assert cells_of(fit(text, width)) == width
    assert cells_of(fit(text, width, right=True)) == width


@given(rows=st.lists(some.rows, min_size=1, max_size=5), width=st.integers(40, 200), streams=st.booleans())
def test_no_line_of_a_table_is_wider_than_the_terminal(
    rows: list[dict[str, object]], width: int, streams: bool
) -> None:
    table = Table(COLUMNS, width, streams=streams)
    lines = [line for row in rows for line in table.add(row)] + table.flush()
    assert len(lines) == len(rows) + 1
    assert all(cells_of(line) < width and line.isprintable() for line in lines)


def test_columns_line_up() -> None:
    table = Table((Column("name", flexible=True), Column("size", "size")), 60)
    table.add({"name": "a", "size": 1})
    table.add({"name": "アリス", "size": 2**40})
    assert table.flush() == ["name       size", "a           1 B", "アリス  1.0 TiB"]


def test_a_long_table_is_shown_before_it_ends() -> None:
    table = Table((Column("name"),), 60)
    shown = [line for number in range(SAMPLE_ROWS + 5) for line in table.add({"name": f"row {number}"})]
    assert len(shown) == SAMPLE_ROWS + 6


def test_unknown_values_and_long_lists_of_sources_are_short() -> None:
    table = Table((Column("a"), Column("b", "duration"), Column("c", "list"), Column("d", "truth")), 80)
    sources = [{"address": "1.2.3.4:5"}, {"address": "6.7.8.9:10"}]
    table.add({"a": None, "b": 61, "c": sources, "d": True})
    assert table.flush()[1].split() == ["–", "1", "min", "01", "s", "1.2.3.4:5", "+1", "yes"]


@pytest.mark.parametrize(("share", "drawn"), [(0, "····"), (0.5, "██··"), (1, "████"), (7, "████"), (-1, "····")])
def test_a_bar_is_filled_to_its_share(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn


@given(
    state=st.sampled_from(["transferring", "verifying", "paused", "queued", "done", "failed", "?"]),
    name=some.names,
    size=st.integers(0, 2**63),
    downloaded=st.integers(0, 2**63),
    eta=st.none() | st.floats(0, 1e9),
    width=st.integers(50, 200),
)
def test_a_progress_line_fits_whatever_the_row_says(
    state: str, name: str, size: int, downloaded: int, eta: float | None, width: int
) -> None:
    row = {"id": 1, "state": state, "name": name, "size": size, "downloaded": downloaded, "eta_s": eta, "error": name}
    line = progress_line(row, width)
    assert line.isprintable()
    assert cells_of(line) < width


def test_progress_is_told_once_a_tenth_or_when_the_state_changes() -> None:
    printer = printer_for(Invocation(by_name("download.list"), {"watch": True}))
    row = {"id": 1, "state": "transferring", "name": "a", "size": 100}
    told = [bool(printer.add({**row, "downloaded": got})) for got in (0, 5, 9, 10, 12, 20, 100)]
    assert told == [True, False, False, True, False, True, True]
    assert printer.add({**row, "state": "done", "downloaded": 100})
    assert printer_for(Invocation(by_name("download.list"), {"watch": True})).end() == ["no downloads"]


def test_live_bars_are_redrawn_in_place_and_old_ones_scroll_away() -> None:
    out = io.StringIO()
    bars = LiveBars(out, lambda: 80, colours=False)
    for number in range(MAX_BARS + 1):
        bars.add({"id": number, "state": "queued" if number else "done", "name": f"file {number}", "size": 1})
    last = out.getvalue().rsplit("\x1b[", MAX_BARS + 2)
    assert f"\x1b[{MAX_BARS}F" in out.getvalue()
    assert "file 0" in "".join(last)
    bars.add({"id": 5, "state": "done", "name": "file 5", "size": 1})
    assert out.getvalue().count("\x1b[20F") == 2


def test_an_empty_reply_says_so() -> None:
    assert printer_for(Invocation(by_name("link.list"), {})).end() == ["no links"]


def test_rows_that_are_handles_are_numbered() -> None:
    printer = printer_for(Invocation(by_name("link.list"), {}))
    printer.add({"address": "1.2.3.4:5"})
    printer.add({"address": "6.7.8.9:1"})
    assert [line.split()[0] for line in printer.end()] == ["#", "1", "2"]


def test_a_narrow_terminal_shows_what_was_dropped_of_each_link() -> None:
    printer = printer_for(Invocation(by_name("link.list"), {}), 80)
    row = {"address": "192.168.100.200:63460", "direction": "out", "role": "ultrapeer", "vendor": "PyGnutella/0.1.0"}
    printer.add({**row, "since_s": 34.0, "rx_messages": 1234, "tx_messages": 1234, "dropped": 17})
    assert [line.split()[-1] for line in printer.end()] == ["dropped", "17"]


def test_the_status_screen_tells_what_is_not_known() -> None:
    shown = "\n".join(status_lines({"version": "1", "role": "leaf", "reachable": {"tcp": None, "udp": False}}))
    assert "tcp unknown, nobody from outside has connected yet  udp no" in shown
    assert "udp" not in "\n".join(status_lines({"reachable": {"tcp": True, "udp": None}}))
    assert "not ready yet" in shown


def test_the_status_screen_says_why_it_has_its_role_in_lines_that_fit() -> None:
    facts = [
        {"fact": name, "value": "not known", "wanted": "1 or more", "met": met}
        for name, met in (("reached over TCP", None), ("upstream", False), ("open files", True), ("memory", True))
    ]
    row = {
        "role": "leaf",
        "role_setting": "auto",
        "role_since_s": 3.0,
        "role_reason": "reason " * 14,
        "role_facts": facts,
    }
    shown = status_lines(row, 80)
    assert all(len(line) <= 80 for line in shown)
    assert "role        leaf (auto) for 3.0 s: reason reason reason reason reason" in "\n".join(shown)
    assert "upstream not known (wanted 1 or more);" in " ".join(shown)
    set_by_hand = status_lines({**row, "role_setting": "leaf", "role_reason": "network.role is 'leaf'"})
    assert "role        leaf for 3.0 s: network.role is 'leaf'" in set_by_hand
    assert not any(line.startswith("facts") for line in set_by_hand)


def test_the_status_screen_names_the_ports_of_the_consoles() -> None:
    shown = status_lines({"consoles": ["unix:/x/control.sock", "tcp:127.0.0.1:41963"]})
    assert any(line.split() == ["consoles", "unix:/x/control.sock,", "tcp:127.0.0.1:41963"] for line in shown)


def test_status_tells_of_the_router_and_of_what_finds_peers_where_there_is_something_to_tell() -> None:
    assert not any(line.startswith(("mapped", "found by")) for line in status_lines({"nat": {"state": "off"}}))
    mapped = {"state": "mapped", "method": "pcp", "address": "24.1.2.3:6346", "detail": ""}
    assert "mapped      pcp  24.1.2.3:6346" in status_lines({"nat": mapped})
    refused = {"state": "refused", "method": "pcp", "address": None, "detail": "no \x1b resources"}
    assert "mapped      no, refused  no \\x1b resources" in status_lines({"nat": refused})
    known = {
        "hosts": 1,
        "web_caches": 2,
        "mdns": {"state": "running", "services": 3},
        "serves": {"url": "http://a/gwc"},
    }
    shown = "found by    1 host known  2 web caches  mDNS, 3 services  serves http://a/gwc"
    assert shown in status_lines({"bootstrap": known})
    failed = {"source": "multicast", "state": "failed", "detail": "not \x1b permitted"}
    rows = [
        failed,
        {"source": "mDNS", "state": "absent", "detail": "no extra"},
        {"source": "web caches", "state": "idle"},
    ]
    lines = status_lines({"bootstrap": {"hosts": 1, "sources": rows}})
    assert "found by    no multicast: not \\x1b permitted" in lines and "found by    no mDNS: no extra" in lines
    assert not any("web caches" in line for line in lines)
    assert "found by    0 hosts known" in status_lines({"bootstrap": {"hosts": 0, "mdns": None, "serves": None}})


@given(detail=some.names, fix=some.names, width=st.integers(50, 140))
def test_what_the_doctor_advises_is_never_cut(detail: str, fix: str, width: int) -> None:
    lines = doctor_lines({"name": "disk", "ok": None, "detail": detail, "fix": fix}, width)
    shown = "".join("".join(lines).split())
    assert all(line.isprintable() for line in lines)
    assert "".join(printable(fix).split()) in shown
    assert lines[0].startswith("–   disk")


@pytest.mark.parametrize(("width", "shown"), [(80, "/tmp/one/incoming/a book.txt"), (50, "…ncoming/a book.txt")])
def test_a_finished_download_shows_where_it_is(width: int, shown: str) -> None:
    row = {"id": 3, "state": "done", "name": "a book.txt", "size": 2570, "path": "/tmp/one/incoming/a book.txt"}
    line = progress_line(row, width)
    assert line.endswith(f"2.5 KiB  {shown}")
    assert cells_of(line) < width


@given(st.text(st.characters(exclude_categories=["Cs"])).map(printable), st.integers(1, 40))
def test_the_end_of_a_long_path_is_kept(path: str, width: int) -> None:
    shown = fit_end(path, width)
    assert cells_of(shown) <= width
    assert path.endswith(shown.removeprefix("…"))


def test_an_event_is_one_harmless_line() -> None:
    line = event_line({"id": 3, "time": 0.5, "type": "hit_received", "data": {"name": "a b\x1b", "size": 5}})
    assert 'name="a b\\x1b" size=5' in line
    assert line.isprintable()


def test_colours_come_only_when_wanted() -> None:
    invocation = Invocation(by_name("node.doctor"), {})
    plain, coloured = printer_for(invocation), printer_for(invocation, colours=True)
    shown = {}
    for printer in (plain, coloured):
        shown[printer] = "".join(printer.add({"name": "disk", "ok": False, "detail": "full", "fix": "make room"}))
    assert "\x1b[31m" in shown[coloured]
    assert "\x1b" not in shown[plain]
    assert "NO  disk" in shown[plain]


def test_likely_spam_is_counted_below_the_table_unless_all_is_asked_for() -> None:
    rows = [{"hit": 1, "name": "song", "likely_spam": False}, {"hit": 2, "name": "worm", "likely_spam": True}]
    for shows_all, expected in ((False, 1), (True, 0)):
        printer = printer_for(Invocation(by_name("search.start"), {"all": shows_all}))
        lines = [line for row in rows for line in printer.add(row)] + printer.end()
        assert any("song" in line for line in lines)
        assert any("worm" in line for line in lines) is shows_all
        assert lines.count("1 hidden as likely spam, --all shows them") == expected


def test_long_lines_of_status_go_on_below_their_text() -> None:
    facts = [{"fact": f"fact {n}", "value": "a value", "wanted": "more", "met": False} for n in range(6)]
    lines = status_lines({"role": "leaf", "role_facts": facts, "links": {"peers": 1, "ultrapeers": 1}}, 80)
    assert max(map(len, lines)) <= 80
    first = next(number for number, line in enumerate(lines) if line.startswith("facts"))
    assert lines[first + 1].startswith(" " * 12)
    assert " ".join(line[12:] for line in lines[first : first + 4]).count("(wanted more)") == 6
    assert "links       1 open  1 to ultrapeers" in lines
