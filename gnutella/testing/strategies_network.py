"""Hypothesis strategies for what arrives on the peer port: handshake blocks, good, odd and broken, and how TCP cuts them."""

from __future__ import annotations

from hypothesis import strategies as st

from gnutella.protocol.peer import Offer
from gnutella.units import Address, Guid

hosts = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str)
addresses = st.builds(Address, hosts, st.integers(1, 65535))

_odd_text = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40)
_values = st.sampled_from(
    [
        "0.1",
        "0.6",
        "True",
        "False",
        "deflate",
        "gzip, deflate",
        "TLS/1.0",
        "Upgrade",
        "32",
        "nan",
        "1e999",
        "-1",
        "9" * 40,
    ]
    + ["1.2.3.4:6346", "[::1]:6346", "1.2.3.4:0", "host.example:1", "application/x-gnutella2", "f" * 32, "1.2.3.4 , ,x"]
)
_names = st.sampled_from(
    [
        "User-Agent",
        "x-ultrapeer",
        "X-Degree",
        "X-Max-TTL",
        "Listen-IP",
        "Node",
        "Remote-IP",
        "GUID",
        "Upgrade",
        "Connection",
    ]
    + ["Accept", "Accept-Encoding", "Content-Encoding", "X-Try-Ultrapeers", "X-Try", "X-Features", "GGEP", "Bye-Packet"]
    + ["Crawler", "Content-Type", "X-Ultrapeer-Needed"]
)
header_lines = st.builds("{}: {}".format, _names | _odd_text, _values | _odd_text)
first_lines = (
    st.sampled_from(
        [
            "GNUTELLA CONNECT/0.6",
            "GNUTELLA CONNECT/0.4",
            "GNUTELLA CONNECT/0.5",
            "GNUTELLA/0.6 200 OK",
            "GNUTELLA/0.6 503 Full",
        ]
        + ["GNUTELLA OK", "GNUTELLA/0.6 204 no", "GNUTELLA/0.6 99999", ""]
    )
    | _odd_text
)


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """A handshake block that may or may not be one."""
    end = draw(st.sampled_from(["\r\n", "\n"]))
    lines = [draw(first_lines), *draw(st.lists(header_lines, max_size=12))]
    return (end.join(lines) + end * 2).encode("utf-8", "replace")


#: Whole conversations of a peer, followed by bytes that belong to the link.
conversations = st.builds(
    lambda parts, tail: b"".join(parts) + tail,
    st.lists(blocks() | st.binary(max_size=40), max_size=3),
    st.binary(max_size=40),
)

offers = st.builds(
    Offer,
    user_agent=st.just("GnutellaTest/1.0"),
    listen=st.none() | addresses,
    is_ultrapeer=st.booleans(),
    accepts_deflate=st.booleans(),
    tls=st.booleans(),
    servent_id=st.none() | st.binary(min_size=16, max_size=16).map(Guid),
    try_ultrapeers=st.lists(addresses, max_size=12).map(tuple),
    ultrapeer_needed=st.none() | st.booleans(),
)


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data` in the pieces in which TCP might deliver it."""
    at = sorted(draw(st.sets(st.integers(0, len(data)), max_size=8)))
    return [data[start:stop] for start, stop in zip([0, *at], [*at, len(data)], strict=True)]
