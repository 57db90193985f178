"""Where virtual nodes are: one IP address each, and one for all that are behind the same gateway, a port for each of them."""

from __future__ import annotations

from gnutella.units import DEFAULT_PORT, Address

#: Nodes are numbered into 10.0.0.0/8.
MAX_NODES = 1 << 22


class Addresses:
    """Gives addresses, none twice."""

    def __init__(self) -> None:
        #: Name of a gateway -> its address, with the next free port.
        self._gateways: dict[str, Address] = {}

    def give(self, number: int, gateway: str) -> Address:
        """The address that others know the node of that number by."""
        at = number + 1
        own = Address(f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}", DEFAULT_PORT)
        if not gateway:
            return own
        found = self._gateways.get(gateway, own)
        self._gateways[gateway] = Address(found.host, found.port + 1)
        return found
