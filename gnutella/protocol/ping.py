"""Ping and pong: who is there, and who answers with which address and how much it shares.

Digest 2.2 and 2.3.  A ping is empty or one GGEP block; a pong has 14 fixed bytes and perhaps a block.  NULs after the block
are tolerated (LimeWire writes one), other bytes are not (gtk-gnutella drops such messages too).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

from gnutella.errors import RemoteViolation
from gnutella.protocol.addresses import decode_hosts, decode_hosts6, ipv4_bytes, ipv4_text, ipv6_of, sender_of
from gnutella.protocol.ggep import Ggep, le_decode
from gnutella.protocol.kinds import PING, PONG
from gnutella.reasons import DropReason
from gnutella.units import Address

#: Bytes of extensions in a ping, pong or push [gtk-gnutella].
MAX_EXTRA = 1536
#: Smallest size in kilobytes that LimeWire takes for the mark of an ultrapeer when it is a power of two.
MIN_ULTRAPEER_KBYTES = 8
#: Bit of the SCP byte by which an ultrapeer asks for pongs.
SCP_ULTRAPEER = 0x01

_PONG = struct.Struct("<H4sII")


def decode_extra(payload: bytes, pos: int, reason: DropReason) -> tuple[Ggep | None, bytes]:
    """The block at `pos` up to the end, if there is one, and the NULs after it; `reason` for anything else."""
    if pos == len(payload):
        return None, b""
    if len(payload) - pos > MAX_EXTRA:
        raise RemoteViolation(reason, f"{len(payload) - pos} bytes of extensions")
    ggep: Ggep | None = None
    if payload[pos]:
        ggep, pos = Ggep.decode(payload, pos)
    trailing = payload[pos:]
    if trailing.strip(b"\0"):
        raise RemoteViolation(reason, "bytes that are no extension")
    return ggep, trailing


def encode_extra(ggep: Ggep | None, trailing: bytes) -> bytes:
    """The reverse of `decode_extra`."""
    return ggep.encode() + trailing if ggep is not None else trailing


@dataclass(frozen=True, slots=True)
class Ping:
    """TTL 1 asks the neighbour whether it lives; others ask for pongs.  `trailing`: NULs after the block."""

    kind: ClassVar[int] = PING
    ggep: Ggep | None = None
    trailing: bytes = b""

    @property
    def wants_packed_hosts(self) -> bool:
        """SCP: hosts in one pong (IPP) are welcome."""
        return self.ggep is not None and "SCP" in self.ggep

    @property
    def is_ultrapeer(self) -> bool:
        """SCP bit 0: the sender is an ultrapeer and wants hosts with slots for ultrapeers."""
        return bool(((self.ggep and self.ggep.get("SCP")) or b"\0")[0] & SCP_ULTRAPEER)

    def encode(self) -> bytes:
        """The payload."""
        return encode_extra(self.ggep, self.trailing)

    @staticmethod
    def decode(payload: bytes) -> Ping:
        """BAD_PING or BAD_GGEP."""
        return Ping(*decode_extra(payload, 0, DropReason.BAD_PING)) if payload else Ping()


@dataclass(frozen=True, slots=True)
class Pong:
    """An address that takes connections, and what is shared there.  Whether the address is plausible is not checked here."""

    kind: ClassVar[int] = PONG
    address: Address
    files: int
    kbytes: int
    ggep: Ggep | None = None
    trailing: bytes = b""

    @property
    def is_ultrapeer(self) -> bool:
        """By GGEP UP, else by LimeWire's old mark: kilobytes are a power of two of at least 8."""
        if self.ggep is not None and "UP" in self.ggep:
            return True
        return self.kbytes >= MIN_ULTRAPEER_KBYTES and self.kbytes & (self.kbytes - 1) == 0

    @property
    def daily_uptime_s(self) -> int | None:
        """Average seconds of uptime a day (DU); None without it or when it cannot be read."""
        raw = self.ggep.get("DU") if self.ggep is not None else None
        return None if raw is None or len(raw) > 4 else le_decode(raw)

    @property
    def free_slots(self) -> tuple[int, int] | None:
        """Free slots for leaves and for ultrapeers (UP)."""
        raw = self.ggep.get("UP") if self.ggep is not None else None
        return None if raw is None or len(raw) < 3 else (raw[1], raw[2])

    @property
    def packed_hosts(self) -> tuple[Address, ...]:
        """Hosts that answer SCP (IPP and IPP6), at most 30 of each; none where the vectors are broken."""
        if self.ggep is None:
            return ()
        try:
            return decode_hosts(self.ggep.get("IPP") or b"") + decode_hosts6(self.ggep.get("IPP6") or b"")
        except RemoteViolation:
            return ()

    @property
    def ipv6(self) -> Address | None:
        """The sender's IPv6 address (GGEP 6) with the port of the pong, also where `address` is an IPv4 one."""
        return ipv6_of(self.ggep.get("6") if self.ggep is not None else None, self.address.port)

    @property
    def vendor(self) -> bytes:
        """Four letters (VC), or nothing."""
        return ((self.ggep and self.ggep.get("VC")) or b"")[:4]

    def encode(self) -> bytes:
        """The payload."""
        host, port = self.address
        fixed = _PONG.pack(port, ipv4_bytes(host), self.files, self.kbytes)
        return fixed + encode_extra(self.ggep, self.trailing)

    @staticmethod
    def decode(payload: bytes) -> Pong:
        """BAD_PONG or BAD_GGEP."""
        size = len(payload)
        if size < _PONG.size:
            raise RemoteViolation(DropReason.BAD_PONG, f"{size} bytes")
        port, ip, files, kbytes = _PONG.unpack_from(payload)
        if size == _PONG.size:
            return Pong(Address(ipv4_text(ip), port), files, kbytes)
        ggep, trailing = decode_extra(payload, _PONG.size, DropReason.BAD_PONG)
        address = sender_of(ip, port, ggep.get("6") if ggep is not None else None)
        return Pong(address, files, kbytes, ggep, trailing)


def honest_kbytes(kbytes: int) -> int:
    """`kbytes` for a pong: one less where it would be taken for the mark of an ultrapeer (digest 2.3); fits 32 bits."""
    kbytes = min(kbytes, 0xFFFFFFFF)
    return kbytes - 1 if kbytes >= MIN_ULTRAPEER_KBYTES and kbytes & (kbytes - 1) == 0 else kbytes
