"""Pushes by HTTP: the request to a push proxy, and the fields by which servents name their proxies (digest 9.2, 9.7).

    GET /gnutella/push-proxy?ServerId=<base32 servent id>&file=7 HTTP/1.1
    X-Node: 192.0.2.1:6346

Also read: `guid=<hex>`, the paths /gnutella/pushproxy and /gnet/push-proxy, parameter names in any case.  Errors:
REQUEST_BROKEN.
"""

from __future__ import annotations

from collections.abc import Iterable

from gnutella.errors import RemoteViolation
from gnutella.protocol.hit import MAX_PUSH_PROXIES
from gnutella.protocol.http import Headers
from gnutella.protocol.message import Push
from gnutella.protocol.urn import b32decode, b32encode
from gnutella.reasons import DropReason
from gnutella.units import Address, Guid, is_plausible_peer, parse_address

#: Parameters of a request that are looked at; servents send up to three.
MAX_PARAMETERS = 8
#: A servent id in base32 and in hex.
_B32_CHARS, _HEX_CHARS = 26, 32
_MAX_INDEX = 0xFFFFFFFF


def push_target(servent_id: Guid, index: int = 0) -> str:
    """What to ask a push proxy for; understood by LimeWire and gtk-gnutella."""
    return f"/gnutella/push-proxy?ServerId={b32encode(servent_id)}" + (f"&file={index}" if index else "")


def read_push(query: str, headers: Headers, *, allow_private: bool) -> Push:
    """The push that a request to us asks for, with the address that is to be called.  REQUEST_BROKEN."""
    parameters: dict[str, str] = {}
    for part in query.split("&")[:MAX_PARAMETERS]:
        name, _, value = part.partition("=")
        parameters.setdefault(name.lower(), value)
    servent_id = _servent_id(parameters)
    index = parameters.get("file", "0")
    if not (index.isascii() and index.isdigit() and len(index) <= 10 and int(index) <= _MAX_INDEX):
        raise _broken("no file index")
    return Push.make(servent_id, int(index), _node(headers, allow_private=allow_private))


def _servent_id(parameters: dict[str, str]) -> Guid:
    if "serverid" in parameters:
        return _from_base32(parameters["serverid"])
    text = parameters.get("guid", "")
    if len(text) != _HEX_CHARS:
        raise _broken("no servent id")
    try:
        return Guid(bytes.fromhex(text))
    except ValueError:
        raise _broken("a servent id that is not hex") from None


def _from_base32(text: str) -> Guid:
    if len(text) != _B32_CHARS:
        raise _broken("a servent id of another length")
    try:
        return Guid(b32decode(text))
    except RemoteViolation:
        raise _broken("a servent id that is not base32") from None


def _node(headers: Headers, *, allow_private: bool) -> Address:
    try:
        address = parse_address(headers.get("x-node") or "", None)
    except ValueError:
        raise _broken("X-Node is no address") from None
    if not is_plausible_peer(address, allow_private=allow_private):
        raise _broken("nobody can be at X-Node")
    return address


def _broken(detail: str) -> RemoteViolation:
    return RemoteViolation(DropReason.REQUEST_BROKEN, detail)


# -- fields ------------------------------------------------------------------------------------------------------------


def proxies_field(proxies: Iterable[Address]) -> tuple[str, str]:
    """X-Push-Proxy, for answers of a servent that cannot be dialled."""
    return "X-Push-Proxy", ", ".join(map(str, proxies))


def node_info_field(servent_id: Guid, own: Address, proxies: Iterable[Address]) -> tuple[str, str]:
    """X-FW-Node-Info, for requests of such a servent: who it is, where it would be, and its proxies."""
    parts = (servent_id.hex().upper(), f"{own.port}:{own.host}", *map(str, proxies))
    return "X-FW-Node-Info", "; ".join(parts)


def parse_proxies(headers: Headers, *, allow_private: bool) -> tuple[Address, ...]:
    """The plausible addresses of X-Push-Proxy and its older spellings, each once, at most MAX_PUSH_PROXIES."""
    found: dict[Address, None] = {}
    for value in headers.all("x-push-proxy", "x-push-proxies", "x-pushproxies"):
        for item in value.split(",")[: 2 * MAX_PUSH_PROXIES]:
            try:
                address = parse_address(item.strip(), None)  # `pptls=<bitmap>` is none
            except ValueError:
                continue
            if is_plausible_peer(address, allow_private=allow_private):
                found[address] = None
    return tuple(found)[:MAX_PUSH_PROXIES]
