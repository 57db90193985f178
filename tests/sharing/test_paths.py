"""Names from the network become direct children of the download directory, whatever they are."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.errors import LocalMisuse
from gnutella.sharing.paths import (
    FALLBACK,
    MARGIN_BYTES,
    MAX_COPIES,
    MAX_NAME_BYTES,
    safe_name,
    safe_target,
    shown_name,
)

PIECES = (
    "..", ".", "/", "\\", "\0", "\n", "\x7f", "\x85", "\u202e", "\u200b", "\ufeff", "\u2028", "\uff0e", "\uff0f", "\u2024",
    "\u2044", "\u2215", "\u29f8", "\u2025", "\u2026", "CON", "nul", "aux.txt", "COM1", "LPT9", " ", "~", "-rf", "_", ":", "*",
    "?", '"', "<", "|", "$(x)", "`x`", "C:", "//host", "e\u0301", "\u00e9", "\udc80", "a" * 100, "日" * 90,
    ".tar.gz", "song.mp3",
)  # fmt: skip
hostile_names = st.one_of(
    st.text(st.characters(), max_size=40), st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
)


@given(hostile_names)
def test_the_target_is_a_plain_new_child_of_the_directory(remote_name: str) -> None:
    path = safe_target("/srv/incoming", remote_name, exists=lambda _: False)
    directory, name = os.path.split(path)
    assert directory == "/srv/incoming"
    assert os.path.normpath(path) == path
    assert name not in ("", ".", "..")
    assert not name.startswith((".", " ", "-", "~"))
    assert not name.endswith((".", " "))
    assert not set(name) & set('/\\:*?"<>|')
    assert len(name.encode("utf-8")) <= MAX_NAME_BYTES - MARGIN_BYTES
    assert not {unicodedata.category(char) for char in name} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert name.split(".")[0].lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}


@given(hostile_names)
def test_no_compatibility_form_brings_a_separator_back(remote_name: str) -> None:
    for form in ("NFKC", "NFKD", "NFC", "NFD"):
        again = unicodedata.normalize(form, safe_name(remote_name))
        assert "/" not in again
        assert "\\" not in again
        assert again not in ("", ".", "..")


@given(hostile_names)
def test_a_safe_name_stays_as_it_is(remote_name: str) -> None:
    assert safe_name(safe_name(remote_name)) == safe_name(remote_name)


@given(hostile_names, st.integers(0, 5))
def test_an_existing_file_is_never_met(remote_name: str, copies: int) -> None:
    taken: set[str] = set()
    for _ in range(copies):
        taken.add(safe_target("/srv/incoming", remote_name, exists=taken.__contains__))
    assert len(taken) == copies
    assert all(len(os.path.basename(path).encode()) <= MAX_NAME_BYTES for path in taken)
    assert all(os.path.dirname(path) == "/srv/incoming" for path in taken)


@pytest.mark.parametrize(
    ("remote_name", "name"),
    [
        ("song.mp3", "song.mp3"),
        ("../../etc/passwd", "etc_passwd"),
        ("/etc/passwd", "etc_passwd"),
        ("C:\\Windows\\x.exe", "C__Windows_x.exe"),
        (".bashrc", "bashrc"),
        ("a\0b\r\nc.txt", "abc.txt"),
        ("cod\u202egpj.exe", "codgpj.exe"),
        ("con.txt", "_con.txt"),
        ("Console.txt", "Console.txt"),
        ("name. . .", "name"),
        ("\uff0e\uff0e\uff0fx", "x"),
        ("  two   spaces.ogg", "two spaces.ogg"),
        ("Déjà vu – 日本語.ogg", "Déjà vu – 日本語.ogg"),
        ("", FALLBACK),
        ("...", FALLBACK),
        ("\0", FALLBACK),
    ],
)
def test_names_by_example(remote_name: str, name: str) -> None:
    assert safe_name(remote_name) == name


def test_a_long_name_keeps_its_type() -> None:
    name = safe_name("日" * 200 + ".flac")
    assert name.endswith(".flac")
    assert len(name.encode()) <= MAX_NAME_BYTES - MARGIN_BYTES
    assert len(safe_name("x." + "y" * 300).encode()) == MAX_NAME_BYTES - MARGIN_BYTES


def test_copies_are_numbered_before_the_extension(tmp_path: Path) -> None:
    for expected in ("a.ogg", "a (2).ogg", "a (3).ogg"):
        path = Path(safe_target(tmp_path, "a.ogg"))
        assert path == tmp_path / expected
        path.touch()


def test_a_dangling_link_counts_as_existing(tmp_path: Path) -> None:
    (tmp_path / "a.ogg").symlink_to("/nowhere/at/all")
    assert safe_target(tmp_path, "a.ogg") == str(tmp_path / "a (2).ogg")


def test_endless_copies_are_refused() -> None:
    asked: list[str] = []

    def exists(path: str) -> bool:
        asked.append(path)
        return True

    with pytest.raises(LocalMisuse):
        safe_target("/srv", "a", exists=exists)
    assert len(asked) == MAX_COPIES


def test_a_relative_directory_is_refused() -> None:
    with pytest.raises(LocalMisuse):
        safe_target("incoming", "a.ogg")


@given(st.binary(min_size=1, max_size=40).filter(lambda raw: b"/" not in raw and b"\0" not in raw))
def test_every_local_name_can_be_shown(raw: bytes) -> None:
    shown = shown_name(os.fsdecode(raw))
    assert shown.encode("utf-8")
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert "/" not in shown
    assert "\\" not in shown


def test_a_name_in_latin_1_is_shown_as_it_was_meant() -> None:
    assert shown_name(os.fsdecode(b"caf\xe9.mp3")) == "café.mp3"
    assert shown_name("日本語.mp3") == "日本語.mp3"
    assert shown_name("two\nlines\\x") == "two_lines_x"
