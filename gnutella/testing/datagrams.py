"""A node as routing.udp sees it, for tests: everything it says is a field.

servent = FakeServent()
udp = make_datagrams(servent)
answers = sent(udp.receive(ping_datagram(), STRANGER, now=0.0))
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gnutella.protocol.ggep import Ggep
from gnutella.protocol.kinds import PING, PONG, encode_header
from gnutella.protocol.message import Ping, Pong
from gnutella.routing.actions import Emit, SendDatagram
from gnutella.routing.counters import Counters
from gnutella.routing.udp import Datagrams, UdpAction
from gnutella.routing.udp_caches import UdpCaches
from gnutella.routing.udp_pongs import Tellable
from gnutella.units import Address, Guid

OWN = Address("80.0.0.1", 6346)
STRANGER = Address("81.2.3.4", 5000)
#: All that can be asked for.
ASKS_ALL = Ggep.of({"SCP": b"\x04", "IP": b"", "VC": b"TEST\x10"})


@dataclass
class FakeServent:
    """An ultrapeer with free slots."""

    address: Address = OWN
    extensions: dict[str, bytes] = field(default_factory=lambda: {"VC": b"PYGN\x01"})
    slots: tuple[int, int] | None = (90, 20)
    tls: bool = True
    ipv6: bool = False
    guess: bool = True
    hosts: Sequence[Tellable] = ()

    def pong(self, asker: str) -> Pong:
        return Pong(self.address, 12, 3456, Ggep.of(self.extensions))

    def free_slots(self) -> tuple[int, int] | None:
        return self.slots

    def speaks_ipv6(self) -> bool:
        return self.ipv6

    def takes_tls(self) -> bool:
        return self.tls

    def takes_guess(self) -> bool:
        return self.guess

    def hosts_to_tell(self, now: float) -> Sequence[Tellable]:
        return self.hosts

    def is_own(self, address: Address) -> bool:
        return address == self.address


def make_datagrams(
    servent: FakeServent | None = None, caches: Iterable[Address] = (), *, allow_private: bool = False, **options: Any
) -> Datagrams:
    """A core with a seeded source of chance and counters of its own."""
    rng = random.Random(1)
    known = UdpCaches(caches, rng)
    options = {"now": 0.0, **options}
    return Datagrams(servent or FakeServent(), known, rng, Counters(), allow_private=allow_private, **options)


def ping_datagram(ggep: Ggep | None = None, *, number: int = 1, ttl: int = 1, hops: int = 0) -> bytes:
    """A ping with a GUID of its own."""
    payload = Ping(ggep).encode()
    return encode_header(_guid(number), PING, ttl, hops, len(payload)) + payload


def pong_datagram(guid: Guid, address: Address, **ggep: bytes) -> bytes:
    """The pong for a ping; keys of the block as keywords, `_6` standing for `6`."""
    values = {name.lstrip("_"): value for name, value in ggep.items()}
    payload = Pong(address, 7, 70, Ggep.of(values) if values else None).encode()
    return encode_header(guid, PONG, 1, 0, len(payload)) + payload


def sent(actions: Iterable[UdpAction]) -> list[SendDatagram]:
    """What is to be sent."""
    return [action for action in actions if isinstance(action, SendDatagram)]


def events(actions: Iterable[UdpAction], kind: type) -> list[Any]:
    """Events of one type."""
    return [action.event for action in actions if isinstance(action, Emit) and isinstance(action.event, kind)]


def _guid(number: int) -> Guid:
    return Guid(b"\x77" * 8 + b"\xff" + number.to_bytes(6, "big") + b"\0")
