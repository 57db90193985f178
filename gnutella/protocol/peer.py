"""What each side says of itself in handshake headers: our `Offer` written, the other's `Peer` read (protocol digest 1.3, 1.4).

Header names have the exact spelling that LimeWire's relatives look up, and a full block stays under 25 headers, since those
clients read no more than 30.  Nothing a peer says here is an error: what cannot be read counts as not said.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from gnutella.protocol.headers import Headers
from gnutella.units import Address, Guid, parse_address

TRY_ULTRAPEERS = "X-Try-Ultrapeers"
TRY = "X-Try"
#: Entries read of a list of other hosts (digest 5.4).
MAX_TRY_HOSTS = 20
#: Header lines of a Bye that are looked at; gtk-gnutella sends half a dozen.
MAX_BYE_LINES = 32
_TRY_NAMES = (TRY_ULTRAPEERS.lower(), TRY.lower())
MAX_USER_AGENT = 128
#: Clamps of gtk-gnutella (digest 1.6).
MAX_DEGREE = 1000
MAX_PEER_TTL = 255
#: What a peer that does not say is taken to have (digest 1.4: gtk-gnutella's assumptions).
LEGACY_DEGREE = 8
LEGACY_MAX_TTL = 7

#: Under which names servents tell where they listen; LimeWire's first.
LISTEN_NAMES = ("Listen-IP", "X-My-Address", "Node", "X-Listen-IP", "X-Node", "Node-IPv6", "X-Node-IPv6")
#: What X-Features says of a servent with both families [gtk-gnutella; digest 11.2]; IP/6.4 is one with IPv6 alone.
IPV6_BOTH = "IP/6.0"
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4})?")
_GUID = re.compile(r"[0-9A-Fa-f]{32}\Z")


@dataclass(frozen=True, slots=True)
class Offer:
    """What we say of ourselves.

    Routing tables are read and sent in both roles.  A gtk-gnutella leaf takes no ultrapeer without `X-Dynamic-Querying` or with
    `X-Degree` below 16, and LimeWire calls a servent without these headers "not good".  Leaves send them as well, as LimeWire's
    rules for leaves want (digest 1.3).
    """

    user_agent: str
    listen: Address | None
    is_ultrapeer: bool = True
    degree: int = 32
    max_ttl: int = 4
    accepts_deflate: bool = True
    tls: bool = False
    servent_id: Guid | None = None
    try_ultrapeers: tuple[Address, ...] = ()
    #: Hosts that are no ultrapeers, or of which that is not known (X-Try).
    try_hosts: tuple[Address, ...] = ()
    query_routing: bool = True
    ultrapeer_needed: bool | None = None
    #: Our IPv6 address beside an IPv4 one, and whether we speak IPv6 at all.
    listen6: Address | None = None
    speaks_ipv6: bool = False
    crawler_peers: tuple[Address, ...] = ()
    crawler_leaves: tuple[Address, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()

    def fields(self, remote_host: str) -> list[tuple[str, str]]:
        """The capability headers of blocks 1 and 2, for a peer whose IP is `remote_host`."""
        fields = [("Listen-IP", str(self.listen))] if self.listen else []
        fields += [
            ("Remote-IP", remote_host),
            ("User-Agent", self.user_agent),
            ("X-Ultrapeer", str(self.is_ultrapeer)),
            ("X-Degree", str(self.degree)),
            ("X-Max-TTL", str(self.max_ttl)),
            ("X-Dynamic-Querying", "0.1"),
            ("X-Ext-Probes", "0.1"),
            ("X-Requeries", "False"),
            ("Pong-Caching", "0.1"),
            ("GGEP", "0.5"),
            ("Vendor-Message", "0.2"),
            ("Bye-Packet", "0.1"),
        ]
        if self.query_routing:
            fields += [("X-Query-Routing", "0.1"), ("X-Ultrapeer-Query-Routing", "0.1")]
        if self.servent_id is not None:
            fields.append(("GUID", self.servent_id.hex()))
        if self.listen6 is not None:
            fields.append(("Node-IPv6", str(self.listen6)))
        if features := self._features():
            fields.append(("X-Features", ", ".join(features)))
        if self.accepts_deflate:
            fields.append(("Accept-Encoding", "deflate"))  # exactly this: LimeWire does not trim a list
        return [*fields, *self.extra]

    def _features(self) -> list[str]:
        features = ["tls/1.0"] if self.tls else []
        if self.speaks_ipv6:
            features.append(IPV6_BOTH)
        return features


@dataclass(frozen=True, slots=True)
class Peer:
    """What the other side says of itself.  `is_ultrapeer` None: it knows no roles.  `remote_ip`: how it sees us."""

    version: str
    user_agent: str
    is_ultrapeer: bool | None
    ultrapeer_needed: bool | None
    listen: Address | None
    #: Where it listens for IPv6 (Node-IPv6); `listen` too when it says no other place.
    listen6: Address | None
    remote_ip: str | None
    degree: int
    max_ttl: int
    reads_bye: bool
    reads_ggep: bool
    vendor_messages: bool
    pong_caching: bool
    query_routing: bool
    ultrapeer_query_routing: bool
    dynamic_querying: bool
    extends_probes: bool
    requeries: bool
    servent_id: Guid | None
    try_hosts: tuple[Address, ...]
    features: tuple[str, ...]
    accepts_deflate: bool
    deflates: bool
    offers_tls: bool
    speaks_gnutella: bool
    headers: Headers


def read_peer(headers: Headers, version: str) -> Peer:
    """The meaning of the headers of block 1 or 2."""
    accept = headers.tokens("Accept")
    content_type = headers.get("Content-Type").lower()
    user_agent = "".join(c if c.isprintable() else "?" for c in headers.get("User-Agent"))
    return Peer(
        version=version,
        user_agent=user_agent[:MAX_USER_AGENT],
        is_ultrapeer=_claim(headers, "X-Ultrapeer"),
        ultrapeer_needed=_claim(headers, "X-Ultrapeer-Needed"),
        listen=_listen(headers),
        listen6=_listen6(headers),
        remote_ip=_remote_ip(headers),
        degree=_number(headers, "X-Degree", LEGACY_DEGREE, MAX_DEGREE),
        max_ttl=_number(headers, "X-Max-TTL", LEGACY_MAX_TTL, MAX_PEER_TTL),
        reads_bye=_has_version(headers, "Bye-Packet"),
        reads_ggep=_has_version(headers, "GGEP"),
        vendor_messages=_has_version(headers, "Vendor-Message"),
        pong_caching=_has_version(headers, "Pong-Caching"),
        query_routing=_has_version(headers, "X-Query-Routing"),
        ultrapeer_query_routing=_has_version(headers, "X-Ultrapeer-Query-Routing"),
        dynamic_querying=_has_version(headers, "X-Dynamic-Querying"),
        extends_probes=_has_version(headers, "X-Ext-Probes"),
        requeries=_claim(headers, "X-Requeries") is not False,
        servent_id=_guid(headers),
        try_hosts=_try_hosts(headers),
        features=tuple(headers.tokens("X-Features"))[:MAX_TRY_HOSTS],
        accepts_deflate="deflate" in headers.tokens("Accept-Encoding"),
        deflates="deflate" in headers.tokens("Content-Encoding"),
        offers_tls="tls/1.0" in headers.tokens("Upgrade"),
        speaks_gnutella=(not accept or any(a in ("application/x-gnutella-packets", "*/*") for a in accept))
        and content_type != "application/x-gnutella2",
        headers=headers,
    )


def _claim(headers: Headers, name: str) -> bool | None:
    return {"true": True, "false": False}.get(headers.get(name).lower())


def _has_version(headers: Headers, name: str) -> bool:
    match = _VERSION.match(headers.get(name))
    return match is not None and float(match[0]) > 0


def _number(headers: Headers, name: str, default: int, largest: int) -> int:
    text = headers.get(name)
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return default
    return max(1, min(int(text), largest))


def _literal_address(text: str) -> Address | None:
    try:
        address = parse_address(text)
        ipaddress.ip_address(address.host)
    except ValueError:
        return None
    return address


def _listen(headers: Headers) -> Address | None:
    for name in LISTEN_NAMES:
        if (address := _literal_address(headers.get(name))) is not None:
            return address
    return None


def _listen6(headers: Headers) -> Address | None:
    address = _literal_address(headers.get("Node-IPv6") or headers.get("X-Node-IPv6"))
    return address if address is not None and ":" in address.host else None


def _remote_ip(headers: Headers) -> str | None:
    """An IP, of IPv6 mostly without brackets [gtk-gnutella], or IP:port [Shareaza]."""
    text = headers.get("Remote-IP") or headers.get("X-Remote-IP")
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    address = _literal_address(text)
    return None if address is None else address.host


def _guid(headers: Headers) -> Guid | None:
    text = headers.get("GUID")
    return Guid(bytes.fromhex(text)) if _GUID.match(text) else None


def _try_hosts(headers: Headers) -> tuple[Address, ...]:
    """X-Try-Ultrapeers and X-Try; never X-Try-Hubs, whose hosts belong to another network."""
    return tuple(dict.fromkeys(hosts_in(headers.get(TRY_ULTRAPEERS)) + hosts_in(headers.get(TRY))))[:MAX_TRY_HOSTS]


def hosts_in(text: str) -> tuple[Address, ...]:
    """The addresses of an X-Try list, in order; what cannot be read is left out."""
    hosts: dict[Address, None] = {}
    for entry in text.split(",")[:MAX_TRY_HOSTS]:
        words = entry.split(maxsplit=1)  # Shareaza writes a date behind the address
        if words and (address := _literal_address(words[0])) is not None:
            hosts[address] = None
    return tuple(hosts)


def hosts_in_bye(lines: str) -> tuple[tuple[Address, ...], tuple[Address, ...]]:
    """The hosts among the header lines of a Bye: those of X-Try-Ultrapeers, and others, of X-Try."""
    found: dict[str, tuple[Address, ...]] = {}
    for line in lines.splitlines()[:MAX_BYE_LINES]:
        name, _, value = line.partition(":")
        if (key := name.strip().lower()) in _TRY_NAMES:
            found.setdefault(key, hosts_in(value))
    ultrapeers, others = (found.get(key, ()) for key in _TRY_NAMES)
    return ultrapeers, tuple(host for host in others if host not in ultrapeers)
