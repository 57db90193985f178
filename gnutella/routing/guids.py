"""Fresh GUIDs for messages of our own (digest 4.2)."""

from __future__ import annotations

from gnutella.routing.seams import Chance
from gnutella.units import Guid


def fresh_guid(rng: Chance) -> Guid:
    """A random message GUID with the marks of a modern servent: byte 8 is FF, byte 15 is 00."""
    raw = rng.getrandbits(128).to_bytes(16, "big")
    return Guid(raw[:8] + b"\xff" + raw[9:15] + b"\0")
