"""The plain overlay, as a gateway asks it for others.

A gateway's query is one of this node's own, in every respect: it is the node that asks it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gnutella.errors import UserError
from gnutella.units import parse_address

if TYPE_CHECKING:
    from gnutella.control.view import Row
    from gnutella.node import Node

#: How long hits are taken for others.
GATEWAY_S: Final = 30.0


class PlainGateway:
    """seams.Gateway over a running node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def query(
        self, text: str, urn: str | None, hit: Callable[[str, int, str, str, int, float], bool], now: float
    ) -> bool:
        """See seams.Gateway."""
        node = self._node
        is_over = False

        def show(row: Row) -> None:
            nonlocal is_over
            for source in row["sources"] if isinstance(row["sources"], list) and not is_over else ():
                address = parse_address(str(source["address"]))
                size = row["size"]
                told = str(row["name"]), size if isinstance(size, int) else 0, str(row["urn"])
                if not hit(*told, address.host, address.port, float(node.reactor.seconds())):
                    is_over = True
                    node.reactor.callLater(0, search.stop)
                    return

        try:
            search = node.face.search(urn or text, (), 0, show)
        except UserError:
            return False
        node.reactor.callLater(GATEWAY_S, search.stop)
        return True
