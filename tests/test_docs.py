"""The pages made from the code: current, complete, and written where they are looked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gnutella import docs
from gnutella.protocol.ggep_keys import KEYS, PLACES
from gnutella.protocol.kinds import KIND_NAMES
from gnutella.reasons import DropReason

ROOMS = Path(docs.__file__).parent
#: How the code asks a block for a key.
READING = re.compile(r'ggep\.get\("([^"]+)"\)|"([^"]+)" in self\.ggep')


def test_the_committed_pages_are_what_the_code_says() -> None:
    assert docs.stale_pages(Path(__file__).resolve().parents[1] / docs.DOCS) == [], (
        "run python -m gnutella.docs and commit what it writes"
    )


def test_the_page_of_messages_has_every_kind_key_and_reason() -> None:
    page = docs.messages_page()
    for name in KIND_NAMES.values():
        assert f"| {name} |" in page
    for reason in DropReason:
        assert f"| `{reason.value}` |" in page
    for label in ("`null/0v0`", "`BEAR/4v1`", "`LIME/11v2`, `LIME/11v3`"):
        assert label in page


def test_the_table_of_keys_is_sound() -> None:
    names = [key.key for key in KEYS]
    assert len(names) == len(set(names))
    for key in KEYS:
        assert set(key.places.split()) <= set(PLACES)
        assert key.use in ("", "reads", "writes", "reads and writes")


def test_each_key_that_the_code_reads_is_in_the_table() -> None:
    use = {key.key: key.use for key in KEYS}
    asked = {
        next(filter(None, found))
        for room in ("protocol", "routing", "transfers")
        for path in (ROOMS / room).glob("*.py")
        for found in READING.findall(path.read_text(encoding="utf-8"))
    }
    assert {"LF", "SCP", "XQ", "TLS"} <= asked
    assert [key for key in sorted(asked) if "reads" not in use.get(key, "")] == []


def test_check_names_stale_pages_and_writing_mends_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--root", str(tmp_path)]
    assert docs.main(["--check", *arguments]) == 1
    assert "reference/messages.md is stale" in capsys.readouterr().err
    assert docs.main(arguments) == 0
    assert docs.main(["--check", *arguments]) == 0
    page = tmp_path / "reference/messages.md"
    page.write_text(page.read_text() + "by hand\n")
    assert docs.main(["--check", *arguments]) == 1


def test_bars_do_not_break_tables() -> None:
    assert docs.table(("a", "b"), [("x|y", 1)]) == "| a | b |\n|---|---|\n| x\\|y | 1 |"


def test_the_page_of_the_daemon_has_every_option_and_the_key_it_stands_for() -> None:
    page = docs.daemon_page()
    for option, key in (
        ("--listen", "network.listen"),
        ("--share", "sharing.directories"),
        ("--console", "control.console"),
    ):
        assert re.search(rf"\| `{option} …`[^|]*\|[^|]*\| `{re.escape(key)}` \|", page)
    for name in ("dir", "config", "http", "anonymous", "connect"):
        assert f"`--{name}" in page
