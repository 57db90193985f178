"""Hypothesis strategies for the control room: words, lines, chunked streams, rows as a hostile network fills them."""

from __future__ import annotations

from hypothesis import strategies as st

#: Words of a command line, quotes, backslashes, spaces and all; no line ends, which end the line.
words = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)
word_lists = st.lists(words, min_size=1, max_size=6)

#: Names as a hostile peer sends them.
names = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("\x1b\x9b\x07\r\n\u202e\u2066\x00")),
    max_size=30,
)

#: Bytes of a console stream with telnet commands in it.
telnet_streams = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.sampled_from(
            [
                b"\xff\xfd\x03",
                b"\xff\xfb\x1f",
                b"\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0",
                b"\xff\xff",
                b"\xff\xf4\xff\xfd\x06",
            ]
        ),
        st.sampled_from([b"status\r\n", b"peers\n", b"\r\0", b"\r", b"help\r\0"]),
    ),
    max_size=12,
).map(b"".join)

rows = st.fixed_dictionaries(
    {"hit": st.integers(0, 10**6), "name": names, "size": st.integers(0, 2**64)},
    optional={
        "urn": names,
        "hops": st.integers(0, 255),
        "vendor": names,
        "sources": st.lists(st.fixed_dictionaries({"address": names}), max_size=3),
    },
)


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data` in pieces."""
    points = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[a:b] for a, b in zip([0, *points], [*points, len(data)], strict=True)]
