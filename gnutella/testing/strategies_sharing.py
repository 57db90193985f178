"""Hypothesis strategies for the sharing room: file names, libraries, queries about them, routing tables."""

from __future__ import annotations

import hashlib

from hypothesis import strategies as st

from gnutella.sharing.catalog import SharedFile

#: Few words, some beginning others, so that random queries meet random names.
WORDS = (
    "a", "in", "the", "then", "theme", "song", "songs", "2004", "20", "mp3", "don't", "dont", "Déjà", "deja", "ubuntu",
    "ubuntu-22.04", "привет", "при", "日本語", "日本", "ファイル", "x264", "C++", "№5", "[live]", "été",
)  # fmt: skip
_SEPARATORS = st.sampled_from((" ", "_", "-", ".", " - ", "+"))


@st.composite
def names(draw: st.DrawFn) -> str:
    """File names made of a few known words, or of any text without what no shown name has."""
    if draw(st.integers(0, 9)) == 0:
        return draw(
            st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=30)
        )
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5))
    return draw(_SEPARATORS).join(words) + draw(st.sampled_from(("", ".mp3", ".pdf")))


@st.composite
def libraries(draw: st.DrawFn, max_files: int = 12) -> list[SharedFile]:
    """Hashed files with distinct, rising indexes."""
    found = draw(st.lists(names(), max_size=max_files))
    return [shared_file(index, name, index % 5) for index, name in enumerate(found, 1)]


def shared_file(index: int, name: str, content: int | None = None) -> SharedFile:
    """A hashed file in /share; equal `content` means equal bytes (default: its own)."""
    sha1 = hashlib.sha1(b"%d" % (index if content is None else content), usedforsecurity=False).digest()
    place, mtime = f"d{index}/{name}", 1_700_000_000 + index
    return SharedFile(
        index, name, 1000 + index, mtime, f"/share/{place}", sha1, None, place, "/share", mtime * 1_000_000_000 + 5
    )


def query_texts() -> st.SearchStrategy[str]:
    """Words that the names have, their beginnings, and others."""
    word = st.one_of(
        st.sampled_from(WORDS),
        st.sampled_from(WORDS).flatmap(lambda word: st.integers(1, len(word)).map(lambda length: word[:length])),
        st.text(max_size=4),
    )
    return st.lists(word, max_size=4).map(" ".join)


def query_payload(text: str, extensions: bytes = b"") -> bytes:
    """A raw query payload with modern flags."""
    return b"\x88\0" + text.encode("utf-8", "surrogatepass") + b"\0" + extensions


@st.composite
def route_tables(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Two tables of one size."""
    size = 1 << draw(st.integers(3, 9))
    slots = st.lists(st.integers(0, 1), min_size=size, max_size=size).map(bytes)
    return draw(slots), draw(slots)
