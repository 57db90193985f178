"""Hypothesis strategies for messages: values that a servent may send, and bytes that nobody should.

Each strategy of values makes only such as the codec itself would build or accept, so that encoding and decoding must give the
same value back.
"""

from __future__ import annotations

from hypothesis import strategies as st

from gnutella.protocol.ggep import MAX_ITEMS, Ggep
from gnutella.protocol.hit import LARGE_FILE, MAX_FILE_SIZE, MAX_RECORDS, HitRecord, QueryHit
from gnutella.protocol.message import (
    Bye,
    Header,
    Hsep,
    Message,
    Ping,
    Pong,
    Push,
    Query,
    RoutePatch,
    RouteReset,
    VendorMessage,
)
from gnutella.protocol.query import MAX_QUERY
from gnutella.protocol.urn import bitprint_urn, sha1_urn, tree_urn
from gnutella.units import Address, Guid

U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFFFFFF)
U64 = st.integers(0, 0xFFFFFFFFFFFFFFFF)
SHA1 = st.binary(min_size=20, max_size=20)
TTH = st.binary(min_size=24, max_size=24)


def guids() -> st.SearchStrategy[Guid]:
    """16 bytes, not all zero."""
    return st.binary(min_size=16, max_size=16).filter(any).map(Guid)


def addresses() -> st.SearchStrategy[Address]:
    """IPv4 addresses other than 0.0.0.0, with a port."""
    hosts = st.tuples(st.integers(1, 255), U8, U8, U8).map(lambda quad: ".".join(map(str, quad)))
    return st.builds(Address, hosts, st.integers(1, 65535))


def ggep_keys() -> st.SearchStrategy[str]:
    """Ids that are known, and any others."""
    any_key = (
        st.binary(min_size=1, max_size=15).filter(lambda raw: b"\0" not in raw).map(lambda raw: raw.decode("latin-1"))
    )
    return st.sampled_from(("BH", "PUSH", "TLS", "UP", "DU", "VC", "SCP", "SO", "XQ", "PATH")) | any_key


def ggep_blocks(min_items: int = 1) -> st.SearchStrategy[Ggep]:
    """Blocks of our own; the values have NULs at times."""
    values = st.binary(max_size=20) | st.just(bytes(70)) | st.binary(min_size=250, max_size=260)
    return st.dictionaries(ggep_keys(), values, min_size=min_items, max_size=min(6, MAX_ITEMS)).map(Ggep.of)


def optional_ggep() -> st.SearchStrategy[Ggep | None]:
    """A block or none."""
    return st.none() | ggep_blocks()


def file_names() -> st.SearchStrategy[str]:
    """Names that peers take: no separator, no control character, not empty, neither of the two directories."""
    alphabet = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\")
    return st.text(alphabet, min_size=1, max_size=60).filter(lambda name: name not in (".", ".."))


def urns() -> st.SearchStrategy[str]:
    """Each scheme that is read."""
    return st.builds(sha1_urn, SHA1) | st.builds(tree_urn, TTH) | st.builds(bitprint_urn, SHA1, TTH)


def queries() -> st.SearchStrategy[Query]:
    """Queries with any flags, URNs and a block."""
    text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
    urn_lists = st.lists(urns(), max_size=3).map(tuple)
    built = st.builds(Query, text, U16, urn_lists, optional_ggep(), st.sampled_from(("", "<audio/>")))
    return built.filter(lambda query: len(query.encode()) <= MAX_QUERY)  # longer ones are refused when read


def records() -> st.SearchStrategy[HitRecord]:
    """Records as we build them: hashes as text or in GGEP, sizes on both sides of 2^31."""
    sizes = st.integers(0, LARGE_FILE - 1) | st.integers(LARGE_FILE, MAX_FILE_SIZE)
    return st.builds(HitRecord, U32, sizes, file_names(), st.none() | SHA1, st.none() | TTH)


def hits() -> st.SearchStrategy[QueryHit]:
    """Hits with each of the flags said or unsaid."""
    flag = st.none() | st.booleans()
    return st.builds(
        QueryHit,
        addresses(),
        U32,
        st.lists(records(), min_size=1, max_size=MAX_RECORDS).map(tuple),
        st.sampled_from((b"PYGN", b"GTKG", b"LIME")),
        guids(),
        flag,
        flag,
        flag,
        flag,
        optional_ggep(),
        st.sampled_from((b"", b"{plaintext}<x/>")),
    )


def messages() -> st.SearchStrategy[Message]:
    """Any message that has a canonical form."""
    line = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40)
    triples = st.lists(st.tuples(U64, U64, U64), min_size=1, max_size=7).map(tuple)
    return st.one_of(
        st.builds(Ping, optional_ggep()),
        st.builds(Pong, addresses(), U32, U32, optional_ggep()),
        queries(),
        hits(),
        st.builds(Push, guids(), U32, addresses(), optional_ggep()),
        st.builds(Bye, U16, line, st.sampled_from(("", "Server: Test/1.0\r\n"))),
        st.builds(RouteReset, U32, U8),
        st.builds(RoutePatch, U8, U8, U8, U8, st.binary(max_size=50)),
        st.builds(VendorMessage, st.binary(min_size=4, max_size=4), U16, U16, st.binary(max_size=50), st.booleans()),
        st.builds(Hsep, triples),
    )


def headers() -> st.SearchStrategy[Header]:
    """Headers with a length that is allowed."""
    return st.builds(Header, guids(), U8, U8, U8, st.integers(0, 65536))


@st.composite
def damaged(draw: st.DrawFn, sound: st.SearchStrategy[bytes]) -> bytes:
    """Sound bytes with a few of them changed, cut out or put in."""
    raw = bytearray(draw(sound))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        match draw(st.integers(0, 3)):
            case 0:
                raw[at : at + 1] = bytes((draw(U8),))
            case 1:
                raw[at:at] = draw(st.binary(max_size=6))
            case 2:
                del raw[at : at + draw(st.integers(1, 8))]
            case _:
                raw[at : at + 1] = draw(st.sampled_from((b"\0", b"\xc3", b"\x1c", b"\xff", b"/", b"urn:sha1:")))
    return bytes(raw)
