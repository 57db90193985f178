"""What the parts of a node tell it, and what it does about that: the journal, the searches, pushes.

One method for each source of events; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gnutella.network.events import (
    LinkClosed,
    LinkFailed,
    LinkOpened,
    PortReached,
    ReachabilityChanged,
    RoleChanged,
)
from gnutella.reasons import DropReason
from gnutella.routing.actions import Emit, SendDatagram
from gnutella.routing.events import (
    ConnectBackAsked,
    HitReceived,
    HostLearned,
    MessageRefused,
    PushReceived,
    ReachLearned,
)
from gnutella.routing.seams import Shared
from gnutella.routing.udp import SeenAs, UdpReached
from gnutella.sharing.catalog import Catalog

if TYPE_CHECKING:
    from gnutella.node import Node

#: Text of the network that reaches the journal is cut to this.
MAX_TEXT = 200


class Happenings:
    """The node's ear."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def link_event(self, event: object) -> None:
        """Events of gnutella.network.events and gnutella.routing.events."""
        node, journal = self._node, self._node.journal
        match event:
            case HitReceived() if node.safety.takes_hit(event):
                node.searches.hit_received(event)
            case PortReached():
                node.standing.reached(event.host)
            case ConnectBackAsked():
                node.standing.call_back(event)
            case ReachLearned():
                node.standing.learned()
            case SendDatagram():
                node.udp.send(event)
            case PushReceived():
                node.transfers.answer_push(event.push)
            case LinkOpened():
                row = event.row
                journal.add(
                    "link_opened",
                    address=row["address"],
                    direction=row["direction"],
                    role=row["role"],
                    vendor=str(row["vendor"])[:MAX_TEXT],
                )
            case LinkClosed() | LinkFailed():
                journal.add(
                    "link_closed" if isinstance(event, LinkClosed) else "link_failed",
                    address=event.address,
                    reason=event.reason.value,
                    detail=event.detail[:MAX_TEXT],
                )
            case MessageRefused():
                journal.add(
                    "message_refused",
                    address=node.links.name(event.link),
                    reason=event.reason.value,
                    detail=event.detail[:MAX_TEXT],
                )
            case RoleChanged():
                journal.add("role_changed", role="leaf" if event.is_leaf else "ultrapeer", reason=event.reason)
            case ReachabilityChanged():
                node.standing.moved()
                self.reachability_changed()

    def udp_event(self, event: object) -> None:
        """Events of gnutella.routing.udp; hosts that were learned go the way of all pongs."""
        node = self._node
        match event:
            case HostLearned():
                node.links.execute([Emit(event)])
            case UdpReached():
                node.standing.reached(event.source.host, by_udp=True)
            case SeenAs():
                if node.own_address.report(event.reporter, event.host):
                    node.router.self_changed()
                    node.standing.moved()
                    self.reachability_changed()
            case _:
                self.link_event(event)

    def reachability_changed(self) -> None:
        """Into the journal."""
        face = self._node.face
        self._node.journal.add("reachability_changed", tcp=face.is_reachable, udp=face.is_reachable_by_udp)

    def transfer_event(self, kind: str, data: Mapping[str, object]) -> None:
        """Events of the transfers, by the names of the journal."""
        self._node.journal.add(kind, **{key: _plain(value) for key, value in data.items()})

    def library_changed(self, catalog: Catalog) -> None:
        """A new snapshot is served from now on."""
        self._node.router.set_library(Counted(catalog, self._node.library.counts.count_hits))
        self._node.own_words.library_changed(catalog)
        self._node.journal.add("share_changed", files=catalog.file_count, bytes=catalog.total_bytes)


class Counted:
    """A catalog that counts the hits of its files (routing.seams.Library); a miss costs one call more."""

    def __init__(self, catalog: Catalog, count: Callable[[Iterable[bytes]], None]) -> None:
        self.file_count = catalog.file_count
        self.kbytes = catalog.kbytes
        self._answer = catalog.answer
        self._count = count

    def answer(self, payload: bytes, limit: int) -> Sequence[Shared]:
        """As Catalog.answer."""
        found = self._answer(payload, limit)
        if found:
            self._count([file.sha1 for file in found if file.sha1 is not None])
        return found


def _plain(value: object) -> object:
    return value.value if isinstance(value, DropReason) else value
