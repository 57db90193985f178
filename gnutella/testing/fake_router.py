"""A router that maps ports by NAT-PMP or PCP, without any socket: `answer(datagram, now)` gives what it says.

`speaks` are the protocol versions that it knows; the other fields make it lie, refuse or forget.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field

EXTERNAL = "24.1.2.3"


@dataclass
class FakeRouter:
    """Its mappings, by (is TCP, port inside): (port outside, lifetime)."""

    speaks: tuple[int, ...] = (0, 2)
    external: str = EXTERNAL
    started_at: float = 0.0
    lifetime_s: int | None = None
    result: int = 0
    offset: int = 0
    mappings: dict[tuple[bool, int], tuple[int, int]] = field(default_factory=dict)
    heard: list[bytes] = field(default_factory=list)

    def answer(self, datagram: bytes, now: float) -> bytes | None:
        """What it sends back; None for silence."""
        self.heard.append(datagram)
        epoch = int(now - self.started_at)
        version = datagram[0]
        if version not in self.speaks:
            if version == 2 and 0 in self.speaks:
                return struct.pack(">BBHI", 0, 128 + datagram[1], 1, epoch)
            return (
                struct.pack(">BBBBII12x", 2, 128 + datagram[1], 0, 1, 0, epoch)
                if version == 0 and self.speaks
                else None
            )
        return self._natpmp(datagram, epoch) if version == 0 else self._pcp(datagram, epoch)

    def _map(self, is_tcp: bool, port: int, wished: int, lifetime_s: int) -> tuple[int, int]:
        if not lifetime_s:
            self.mappings.pop((is_tcp, port), None)
            return wished, 0
        granted = lifetime_s if self.lifetime_s is None else self.lifetime_s
        self.mappings[is_tcp, port] = (wished + self.offset, granted)
        return self.mappings[is_tcp, port]

    def _natpmp(self, datagram: bytes, epoch: int) -> bytes:
        opcode = datagram[1]
        head = struct.pack(">BBHI", 0, 128 + opcode, self.result, epoch)
        if opcode == 0:
            return head + ipaddress.IPv4Address(self.external).packed
        port, wished, lifetime = struct.unpack(">HHI", datagram[4:12])
        external, granted = (0, 0) if self.result else self._map(opcode == 2, port, wished, lifetime)
        return head + struct.pack(">HHI", port, external, granted)

    def _pcp(self, datagram: bytes, epoch: int) -> bytes:
        _, opcode, _, lifetime, _ = struct.unpack(">BBHI16s", datagram[:24])
        nonce, protocol, port, wished, _ = struct.unpack(">12sB3xHH16s", datagram[24:60])
        external, granted = (0, 30) if self.result else self._map(protocol == 6, port, wished, lifetime)
        host = bytes(10) + b"\xff\xff" + ipaddress.IPv4Address(self.external).packed
        head = struct.pack(">BBBBII12x", 2, 128 + opcode, 0, self.result, granted, epoch)
        return head + struct.pack(">12sB3xHH16s", nonce, protocol, port, external, host)
