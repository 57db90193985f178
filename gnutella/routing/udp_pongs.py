"""Our pongs over UDP: what they say beside the fixed fields, and how much of it (digest 2.3, 3.3, 5.2).

A short pong keeps within MAX_AMPLIFICATION times the ping; the long one, with packed hosts, is rare (udp_limits).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from gnutella.protocol.addresses import encode_hosts, encode_hosts6
from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import HEADER_SIZE, PONG, encode_header
from gnutella.protocol.message import Pong
from gnutella.routing.udp_limits import MAX_AMPLIFICATION
from gnutella.units import Address, Guid, is_plausible_peer

#: Hosts packed into one answer, IPv4 and IPv6 together (LimeWire; digest 5.2).
MAX_PACKED = 10
#: SCP flags (digest 3.3).
SCP_ULTRAPEER, SCP_TLS, SCP_IPV6 = 0x01, 0x02, 0x04
ALIVE_TTL = 1
#: GGEP UP: its version; slots are told in one byte each.
_UP_VERSION = 1
_MAX_SLOTS = 255


def slots_value(slots: tuple[int, int]) -> bytes:
    """GGEP UP: free slots for leaves and for ultrapeers."""
    return bytes((_UP_VERSION, *(max(0, min(_MAX_SLOTS, count)) for count in slots)))


class Tellable(NamedTuple):
    """A host that may be told to others."""

    address: Address
    takes_tls: bool = False
    takes_guess: bool = False


class Servent(Protocol):
    """What is asked of the node."""

    def pong(self, asker: str) -> Pong:
        """Our pong as the host `asker` shall read it, with whatever is said of us in every pong (VC, DU)."""
        ...

    def free_slots(self) -> tuple[int, int] | None:
        """Free slots for leaves and for ultrapeers; None for a leaf."""
        ...

    def takes_tls(self) -> bool: ...

    def speaks_ipv6(self) -> bool: ...

    def takes_guess(self) -> bool:
        """Whether we answer queries by UDP, and give the keys that they need."""
        ...

    def hosts_to_tell(self, now: float) -> Sequence[Tellable]:
        """Ultrapeers that were seen lately, in random order."""
        ...

    def is_own(self, address: Address) -> bool: ...


def wants_guess_hosts(asked: Ggep | None) -> bool:
    """Whether a ping asks for hosts that answer queries by UDP (GUE without a value; digest 3.3)."""
    return asked is not None and asked.get("GUE") == b""


class OwnPongs:
    """Makes them."""

    def __init__(self, servent: Servent, *, allow_private: bool) -> None:
        self._servent = servent
        self._allow_private = allow_private

    def short(
        self, guid: Guid, asked: Ggep | None, asked_bytes: int, source: Address, first: Mapping[str, bytes]
    ) -> bytes:
        """A whole pong at most MAX_AMPLIFICATION times as long as a message with `asked_bytes` of payload.

        `asked`: the block of that message; `first`: values that go before all others.
        """
        pong = self._servent.pong(source.host)
        room = MAX_AMPLIFICATION * (HEADER_SIZE + asked_bytes) - HEADER_SIZE
        chosen: dict[str, bytes] = {}
        for name, value in {**first, **self._said(asked, pong, source)}.items():
            more = {**chosen, name: value}
            if len(replace(pong, ggep=Ggep.of(more)).encode()) <= room:
                chosen = more
        return _message(guid, pong, chosen)

    def long(self, guid: Guid, asked: Ggep | None, source: Address, now: float, first: Mapping[str, bytes]) -> bytes:
        """A whole pong with all that is said of us, and hosts."""
        pong = self._servent.pong(source.host)
        values = {**first, **self._said(asked, pong, source)}
        if self._servent.free_slots() is not None:
            values["UDPHC"] = b""
        return _message(guid, pong, values | self._packed(asked, source, now))

    def _said(self, asked: Ggep | None, pong: Pong, source: Address) -> dict[str, bytes]:
        """What a pong of ours may say beside its fixed fields, the most useful first."""
        values: dict[str, bytes] = {}
        if ":" in pong.address.host:
            values["6"] = encode_hosts6([pong.address])[:16]
        if asked is not None and "IP" in asked:
            values["IP"] = encode_hosts6([source]) if ":" in source.host else encode_hosts([source])
        slots = self._servent.free_slots()
        if slots is not None:
            values["UP"] = slots_value(slots)
        values |= dict(pong.ggep.items) if pong.ggep is not None else {}
        if self._servent.takes_tls():
            values["TLS"] = b""
        return values

    def _packed(self, asked: Ggep | None, source: Address, now: float) -> dict[str, bytes]:
        reads_ipv6 = bool(((asked and asked.get("SCP")) or b"\0")[0] & SCP_IPV6)
        only_guess = wants_guess_hosts(asked)
        hosts = [
            host
            for host in self._servent.hosts_to_tell(now)
            if host.address.host != source.host
            and is_plausible_peer(host.address, allow_private=self._allow_private)
            and not self._servent.is_own(host.address)
            and (host.takes_guess or not only_guess)
            and (reads_ipv6 or ":" not in host.address.host)
        ][:MAX_PACKED]
        values: dict[str, bytes] = {}
        for suffix in ("", "6"):
            some = [host for host in hosts if (":" in host.address.host) is bool(suffix)]
            if some:
                encoder = encode_hosts6 if suffix else encode_hosts
                values[f"IPP{suffix}"] = encoder(host.address for host in some)
            if bits := _bitmap([host.takes_tls for host in some]):
                values[f"IPP{suffix}_TLS"] = bits
        return values


def _message(guid: Guid, pong: Pong, values: Mapping[str, bytes]) -> bytes:
    answer = replace(pong, ggep=Ggep.of(values) if values else None).encode()
    return encode_header(guid, PONG, ALIVE_TTL, 0, len(answer)) + answer


def _bitmap(bits: Sequence[bool]) -> bytes:
    """Most significant bit first, zero bytes at the end dropped (digest 3.2)."""
    number = sum(bit << (7 - at % 8 + 8 * (at // 8)) for at, bit in enumerate(bits))
    return number.to_bytes((len(bits) + 7) // 8, "little").rstrip(b"\0")
