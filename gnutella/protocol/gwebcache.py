"""GWebCache 1 and 2, both sides' texts: what is asked of a web cache, and what it answers (protocol digest 5.3).

A cache is a web page that knows addresses of servents and URLs of other caches.  Version 1 answers with plain lines, version 2
with lines of fields between bars; one reader takes both, because caches mix them.  Nothing here decides whether an address is
worth anything: that is for who asked.

    url = ask_url("http://cache.example/gwc.php", ask_params(spec=0, wants_urls=False, version="0.1.0"))
    parse_answer(b"H|192.0.2.1:6346|600\r\nU|http://other.example/gwc|7200\r\n").hosts
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from gnutella import VENDOR_CODE
from gnutella.errors import RemoteViolation
from gnutella.reasons import DropReason
from gnutella.units import Address, is_plausible_peer, parse_address

#: Bytes read of one answer (digest 5.3: limit 64 KiB); an answer of a working cache has about one.
MAX_ANSWER = 65536
#: Lines looked at, and characters of one (our own numbers; caches tell 20 to 100 hosts).
MAX_LINES = 500
MAX_LINE = 512
#: Hosts and cache URLs taken from one answer (our own numbers, so that one cache alone does not fill our lists).
MAX_HOSTS = 50
MAX_URLS = 10
#: A URL of a cache; longer ones are no cache's that is in use.
MAX_URL = 256
#: A query string that we answer, and the fields in it.
MAX_QUERY = 1024
MAX_FIELDS = 32
#: Text of a cache that is kept for people.
MAX_REMARK = 120

NETWORK = "gnutella"
#: Where a servent of ours serves as a cache.
OWN_PATH = "/gwc"
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_PORTS = {"http": 80, "https": 443}

#: Version of the protocol; 0 is not known yet.
Spec = Literal[0, 1, 2]


@dataclass(frozen=True, slots=True)
class CacheAnswer:
    """What a cache said.  `remark` is its warning or refusal, cut, still a stranger's text."""

    spec: Spec
    hosts: tuple[Address, ...] = ()
    urls: tuple[str, ...] = ()
    took_update: bool = False
    name: str = ""
    remark: str = ""


# -- asking ------------------------------------------------------------------------------------------------------------


def ask_params(spec: Spec, *, wants_urls: bool, version: str) -> dict[str, str]:
    """Parameters of a request for hosts; `wants_urls`: for other caches instead, where that is another request (version 1).

    While the version is not known both are asked in one request: a cache of version 1 sees `hostfile`, one of version 2 `get`.
    """
    if spec == 1:
        return {"urlfile" if wants_urls else "hostfile": "1", **_who(version)}
    both = {} if spec == 2 else {"hostfile": "1"}
    return {"get": "1", "net": NETWORK, **both, **_who(version)}


def update_params(spec: Spec, own: Address, url: str, version: str) -> dict[str, str]:
    """Parameters that tell a cache of us, and of one more cache that works ("" for none)."""
    told = {"ip": str(own), **({"url": url} if url else {})}
    return {**({"update": "1", "net": NETWORK} if spec != 1 else {}), **told, **_who(version)}


def _who(version: str) -> dict[str, str]:
    return {"client": VENDOR_CODE.decode("ascii"), "version": version}


def ask_url(base: str, params: Mapping[str, str]) -> str:
    """The whole URL of a request."""
    return f"{base}?{urlencode(params, quote_via=quote)}"


def check_url(text: str, *, allow_private: bool) -> str:
    """A cache's URL in one spelling: no user, no query, no fragment, no default port.  ValueError says what is wrong with it.

    `allow_private` takes literal private addresses and names without a dot, which only mean something in one's own network.
    """
    if len(text) > MAX_URL or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"a URL of a cache has at most {MAX_URL} printable ASCII characters")
    parts = urlsplit(text)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{text!r} does not begin with http://host or https://host")
    if parts.username is not None or parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError(f"{text!r}: a URL of a cache has no user, query or fragment")
    host, port, path = parts.hostname.rstrip("."), parts.port or _PORTS[parts.scheme], parts.path or "/"
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        if not _HOST.fullmatch(host) or (not allow_private and (_looks_local(host) or "." not in host)):
            raise ValueError(f"{text!r}: {host!r} is no host of a cache") from None
    else:
        if not is_plausible_peer(Address(str(ip), port), allow_private=allow_private):
            raise ValueError(f"{text!r}: no cache can be at {host}")
    if not _PATH.fullmatch(path):
        raise ValueError(f"{text!r}: the path cannot be read")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{'' if port == _PORTS[parts.scheme] else f':{port}'}{path}"


def _looks_local(host: str) -> bool:
    # Digits and dots, or hexadecimal, that are no address in plain spelling are read as one by some resolvers.
    last = host.rpartition(".")[2]
    return last.isdigit() or last.startswith("0x") or last in ("local", "localhost", "internal", "lan", "home", "arpa")


# -- the answer --------------------------------------------------------------------------------------------------------


def parse_answer(body: bytes) -> CacheAnswer:
    """What a cache answered; RemoteViolation BAD_CACHE_ANSWER when no line of it can be understood, or it is too long."""
    if len(body) > MAX_ANSWER:
        raise RemoteViolation(DropReason.BAD_CACHE_ANSWER, f"more than {MAX_ANSWER} bytes")
    reading = _Reading()
    for line in re.split(rb"\r\n|\n|\r", body, maxsplit=MAX_LINES)[:MAX_LINES]:
        if 0 < len(line) <= MAX_LINE:
            reading.take(line.decode("latin-1").strip())
    if not reading.understood:
        raise RemoteViolation(DropReason.BAD_CACHE_ANSWER, "no line that a cache would write")
    return CacheAnswer(
        2 if reading.has_bars else 1,
        tuple(reading.hosts)[:MAX_HOSTS],
        tuple(reading.urls)[:MAX_URLS],
        reading.took_update,
        reading.name,
        reading.remark,
    )


class _Reading:
    def __init__(self) -> None:
        self.hosts: dict[Address, None] = {}
        self.urls: dict[str, None] = {}
        self.took_update = False
        self.name = ""
        self.remark = ""
        self.understood = False
        self.has_bars = False

    def take(self, line: str) -> None:
        if line[1:2] == "|":
            self._take_fields(line.split("|"))
        elif line.lower().startswith(("http://", "https://")):
            self._url(line)
        elif (host := _host_in(line.partition(",")[0])) is not None:
            self._host(host)
        else:
            self._take_words(line)

    def _take_fields(self, fields: list[str]) -> None:
        kind, value = fields[0].upper(), fields[1].strip()
        if kind == "H" and (host := _host_in(value)) is not None:
            self._host(host)
        elif kind == "U" and value.lower().startswith(("http://", "https://")):
            self._url(value)
        elif kind == "I":
            self._information([field.strip() for field in fields[1:]])
        else:
            return
        self.has_bars = True

    def _information(self, fields: list[str]) -> None:
        self.understood = True
        word = fields[0].lower()
        if word == "pong":
            self.name = _cut(fields[1] if len(fields) > 1 else "")
        elif word == "update" and fields[1:2] == ["OK"]:
            self.took_update = True
        elif word in ("update", "warning", "error", "access", "ip-blocked", "net-not-supported", "blocked"):
            self.remark = self.remark or _cut(" ".join(fields))

    def _take_words(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        upper = word.upper().rstrip(":")
        if upper == "OK" and not rest:
            self.took_update = True
        elif upper == "PONG":
            self.name = _cut(rest)
        elif upper in ("WARNING", "ERROR"):
            self.remark = self.remark or _cut(line)
        else:
            return
        self.understood = True

    def _host(self, host: Address) -> None:
        self.understood = True
        self.hosts[host] = None

    def _url(self, url: str) -> None:
        self.understood = True
        self.urls[url] = None


def _host_in(text: str) -> Address | None:
    try:
        host = parse_address(text, None)
        ipaddress.ip_address(host.host)
    except ValueError:
        return None
    return host


def _cut(text: str) -> str:
    return text.strip()[:MAX_REMARK]


# -- the other side ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CacheRequest:
    """What somebody asks of our cache.  `ip` and `url` are what an update tells, not judged yet; `spec` is how to answer."""

    spec: Spec
    wants_hosts: bool = False
    wants_urls: bool = False
    is_ping: bool = False
    wants_statistics: bool = False
    is_update: bool = False
    ip: Address | None = None
    url: str = ""
    network: str = NETWORK


def parse_request(query: str) -> CacheRequest:
    """The query string of a request; RemoteViolation REQUEST_BROKEN when it is none that a servent would send."""
    if len(query) > MAX_QUERY:
        raise RemoteViolation(DropReason.REQUEST_BROKEN, f"a query of {len(query)} characters")
    try:
        fields = {name.lower(): value for name, value in reversed(parse_qsl(query, max_num_fields=MAX_FIELDS))}
    except ValueError:
        raise RemoteViolation(DropReason.REQUEST_BROKEN, "a query with too many fields") from None
    told = fields.get("ip", fields.get("ip1", ""))
    is_spec2 = "net" in fields or _is_set(fields, "get") or _is_set(fields, "update")
    return CacheRequest(
        spec=2 if is_spec2 else 1,
        wants_hosts=_is_set(fields, "get") or (_is_set(fields, "hostfile") and not is_spec2),
        wants_urls=_is_set(fields, "get") or (_is_set(fields, "urlfile") and not is_spec2),
        is_ping=_is_set(fields, "ping"),
        wants_statistics=_is_set(fields, "statfile"),
        is_update=_is_set(fields, "update") or bool(told) or "url" in fields,
        ip=_host_in(told),
        url=fields.get("url", fields.get("url1", "")),
        network=fields.get("net", NETWORK).lower(),
    )


def _is_set(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "0") not in ("", "0")


def hosts_and_urls(spec: Spec, hosts: Sequence[tuple[Address, int]], urls: Iterable[tuple[str, int]]) -> list[str]:
    """Lines that tell hosts and caches, each with its age in seconds (told in version 2 only)."""
    if spec == 1:
        return [*(str(host) for host, _ in hosts), *(url for url, _ in urls)]
    return [*(f"H|{host}|{age}" for host, age in hosts), *(f"U|{url}|{age}" for url, age in urls)]


def warning(spec: Spec, text: str, *, of_update: bool = False) -> str:
    """A line that says no."""
    if spec == 1:
        return f"WARNING: {text}"
    return f"I|{'update|' if of_update else ''}WARNING|{text}"


def pong(spec: Spec, name: str) -> str:
    """A line that says who we are; `name` is name and version."""
    return f"PONG {name}" if spec == 1 else f"I|pong|{name}|{NETWORK}"


def accepted(spec: Spec) -> str:
    """A line that says that an update was taken."""
    return "OK" if spec == 1 else "I|update|OK"


def body_of(lines: Iterable[str]) -> bytes:
    """An answer."""
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1", "replace")
