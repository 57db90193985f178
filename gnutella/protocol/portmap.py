"""NAT-PMP (RFC 6886) and PCP (RFC 6887): the datagrams by which a host asks its router to map a port.  Bytes in, values out.

Both live on the router's port 5351, and the first byte tells them apart: 0 is NAT-PMP, 2 is PCP.  Only what a servent needs is
here: mappings of one TCP or UDP port, and NAT-PMP's question for the external address.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from gnutella.errors import RemoteViolation
from gnutella.reasons import DropReason

#: Where routers listen for both (RFC 6886 3.1, RFC 6887 19).
PORT = 5351
NATPMP_VERSION, PCP_VERSION = 0, 2
#: No datagram of PCP is longer (RFC 6887 7).
MAX_DATAGRAM = 1100
#: Bytes of a PCP nonce (RFC 6887 11.1).
NONCE_BYTES = 12

_OP_ADDRESS, _OP_UDP, _OP_TCP = 0, 1, 2
_PCP_MAP = 1
_RESPONSE = 128
_TCP, _UDP = 6, 17
_NATPMP_HEAD = struct.Struct(">BBHI")
_NATPMP_MAP = struct.Struct(">BBHHHI")
_NATPMP_MAPPED = struct.Struct(">HHI")
_PCP_ASK = struct.Struct(">BBHI16s")
_PCP_ANSWER = struct.Struct(">BBBBII12x")
_PCP_MAPPING = struct.Struct(">12sB3xHH16s")
_PCP_LENGTH = _PCP_ANSWER.size + _PCP_MAPPING.size

#: Result codes by protocol version; 0 is success in both (RFC 6886 3.5, RFC 6887 7.4).
RESULTS = {
    NATPMP_VERSION: (
        "success",
        "unsupported version",
        "not authorised",
        "network failure",
        "out of resources",
        "unsupported opcode",
    ),
    PCP_VERSION: (
        "success",
        "unsupported version",
        "not authorised",
        "malformed request",
        "unsupported opcode",
        "unsupported option",
        "malformed option",
        "network failure",
        "no resources",
        "unsupported protocol",
        "user exceeded quota",
        "cannot provide that external address",
        "address mismatch",
        "excessive remote peers",
    ),
}
UNSUPPORTED_VERSION = 1


@dataclass(frozen=True, slots=True)
class MappingAnswer:
    """What a router said of one mapping, or of the external address alone (`port` 0, NAT-PMP only).

    `epoch_s` are seconds since the router's table of mappings was empty.  A `result` other than 0 is a refusal; then the
    other fields say little.  `host` is None where the answer has none.  `nonce` is empty in NAT-PMP.
    """

    version: int
    result: int
    epoch_s: int
    is_tcp: bool = False
    port: int = 0
    external_port: int = 0
    lifetime_s: int = 0
    host: str | None = None
    nonce: bytes = b""

    @property
    def meaning(self) -> str:
        """The result in words."""
        known = RESULTS[self.version]
        return known[self.result] if self.result < len(known) else f"result {self.result}"


def natpmp_ask_address() -> bytes:
    """What is the external address?"""
    return bytes((NATPMP_VERSION, _OP_ADDRESS))


def natpmp_map(port: int, external_port: int, lifetime_s: int, *, is_tcp: bool) -> bytes:
    """Map a port of ours; lifetime 0 and external port 0 end the mapping."""
    return _NATPMP_MAP.pack(NATPMP_VERSION, _OP_TCP if is_tcp else _OP_UDP, 0, port, external_port, lifetime_s)


def pcp_map(nonce: bytes, own: str, port: int, external_port: int, lifetime_s: int, *, is_tcp: bool) -> bytes:
    """The same in PCP, which says from where: `own` is our IP on the way to the router."""
    head = _PCP_ASK.pack(PCP_VERSION, _PCP_MAP, 0, lifetime_s, _packed16(own))
    # No wish for an external address: all zeros of the family (RFC 6887 11.1).
    anywhere = _packed16("0.0.0.0" if ":" not in own else "::")
    return head + _PCP_MAPPING.pack(nonce, _TCP if is_tcp else _UDP, port, external_port, anywhere)


def parse_mapping(data: bytes) -> MappingAnswer:
    """An answer of either protocol; RemoteViolation BAD_MAPPING for everything else."""
    if len(data) >= 4 and len(data) <= MAX_DATAGRAM and data[1] & _RESPONSE:
        if data[0] == NATPMP_VERSION:
            return _natpmp(data)
        if data[0] == PCP_VERSION:
            return _pcp(data)
    raise _bad("no answer of NAT-PMP or PCP")


def _natpmp(data: bytes) -> MappingAnswer:
    if len(data) < _NATPMP_HEAD.size:
        raise _bad("a NAT-PMP answer that is too short")
    _, opcode, result, epoch = _NATPMP_HEAD.unpack_from(data)
    opcode -= _RESPONSE
    if result:
        # A router that does not know PCP answers the first 12 bytes of it, whatever they are.
        is_mapping = opcode in (_OP_UDP, _OP_TCP) and len(data) == 16
        port = _NATPMP_MAPPED.unpack_from(data, _NATPMP_HEAD.size)[0] if is_mapping else 0
        return MappingAnswer(NATPMP_VERSION, result, epoch, opcode == _OP_TCP, port)
    if opcode == _OP_ADDRESS and len(data) == 12:
        return MappingAnswer(NATPMP_VERSION, 0, epoch, host=str(ipaddress.IPv4Address(data[8:12])))
    if opcode in (_OP_UDP, _OP_TCP) and len(data) == 16:
        port, external, lifetime = _NATPMP_MAPPED.unpack_from(data, _NATPMP_HEAD.size)
        return MappingAnswer(NATPMP_VERSION, 0, epoch, opcode == _OP_TCP, port, external, lifetime)
    raise _bad(f"a NAT-PMP answer with opcode {opcode} and {len(data)} bytes")


def _pcp(data: bytes) -> MappingAnswer:
    if len(data) < _PCP_ANSWER.size or len(data) % 4:
        raise _bad(f"a PCP answer of {len(data)} bytes")
    _, opcode, _, result, lifetime, epoch = _PCP_ANSWER.unpack_from(data)
    if opcode != _RESPONSE | _PCP_MAP:
        raise _bad(f"a PCP answer with opcode {opcode}")
    if len(data) < _PCP_LENGTH:
        if result:
            return MappingAnswer(PCP_VERSION, result, epoch, lifetime_s=lifetime)
        raise _bad("a PCP answer without its mapping")
    nonce, protocol, port, external, host = _PCP_MAPPING.unpack_from(data, _PCP_ANSWER.size)
    if protocol not in (_TCP, _UDP):
        raise _bad(f"a PCP mapping of protocol {protocol}")
    ip = ipaddress.IPv6Address(host)
    return MappingAnswer(
        PCP_VERSION, result, epoch, protocol == _TCP, port, external, lifetime, str(ip.ipv4_mapped or ip), nonce
    )


def _packed16(host: str) -> bytes:
    ip = ipaddress.ip_address(host)
    return ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed


def _bad(why: str) -> RemoteViolation:
    return RemoteViolation(DropReason.BAD_MAPPING, why)
