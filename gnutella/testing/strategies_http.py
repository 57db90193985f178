"""Hypothesis strategies for HTTP heads, ranges and magnet links."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from gnutella.protocol.magnet import MAX_SOURCES, Magnet
from gnutella.units import Address

_NAME_CHARS = st.characters(codec="ascii", categories=("Lu", "Ll", "Nd"))


def field_names() -> SearchStrategy[str]:
    """Header names as servents write them."""
    return st.text(_NAME_CHARS, min_size=1, max_size=16).map(lambda text: f"X-{text}")


def field_values() -> SearchStrategy[str]:
    """Values that keep their bytes through a head: printable latin-1 without blanks at the ends."""
    return st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=40).map(
        str.strip
    )


def header_items() -> SearchStrategy[list[tuple[str, str]]]:
    """Fields of one head."""
    return st.lists(st.tuples(field_names(), field_values()), max_size=8)


def chunkings(data: bytes) -> SearchStrategy[list[bytes]]:
    """`data` in pieces of any size."""
    cuts = st.lists(st.integers(0, len(data)), max_size=12).map(lambda found: sorted({0, *found, len(data)}))
    return cuts.map(lambda points: [data[a:b] for a, b in pairwise(points)])


def addresses() -> SearchStrategy[Address]:
    """Literal IPv4 addresses with a port."""
    return st.builds(Address, st.ip_addresses(v=4).map(str), st.integers(1, 65535))


def magnets() -> SearchStrategy[Magnet]:
    """Magnet links that name a file by its SHA-1."""
    text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40)
    return st.builds(
        Magnet,
        sha1=st.binary(min_size=20, max_size=20),
        tth=st.none() | st.binary(min_size=24, max_size=24),
        size=st.none() | st.integers(0, 2**60),
        name=text,
        sources=st.lists(addresses(), unique=True, max_size=MAX_SOURCES).map(tuple),
        keywords=text,
    )
