"""What the links tell the node, in the past tense, beside the router's own events."""

from __future__ import annotations

from dataclasses import dataclass

from gnutella.reasons import DropReason
from gnutella.units import LinkId


@dataclass(frozen=True, slots=True)
class LinkOpened:
    """A handshake succeeded; `row` is the link's row of `peers`."""

    link: LinkId
    row: dict[str, object]


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """An open link ended."""

    link: LinkId
    address: str
    reason: DropReason
    detail: str


@dataclass(frozen=True, slots=True)
class LinkFailed:
    """A host that we dialled gave no link."""

    address: str
    reason: DropReason
    detail: str


@dataclass(frozen=True, slots=True)
class PortReached:
    """Somebody at `host` connected to our port."""

    host: str


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """We are a leaf now, or an ultrapeer, for that reason; links are opened anew."""

    is_leaf: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ReachabilityChanged:
    """Peers agree on another address of ours; `host` is the new one."""

    host: str
