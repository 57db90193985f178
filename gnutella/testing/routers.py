"""Routers for tests: a shelf of files as library, defaults for everything else, and a reader of actions.

router = make_router()
open_links(router, 3)
sent = sent_by(router.receive(LinkId(0), query_bytes("hello"), now=1.0))
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gnutella.protocol.frames import Frame, frames
from gnutella.protocol.message import Query, encode
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action, Close, Emit, Flood, Send
from gnutella.routing.router import LinkInfo, Router
from gnutella.settings import RoutingSettings
from gnutella.units import Address, Guid, LinkId

OWN_ADDRESS = Address("10.1.0.1", 6346)
OWN_SERVENT = Guid(b"\x11" * 8 + b"\xff" + b"\x11" * 6 + b"\x00")


@dataclass(frozen=True, slots=True)
class ShelfFile:
    """One shared file; the hash is made of the name unless given."""

    index: int
    name: str
    size: int = 1000
    sha1: bytes | None = None
    tth: bytes | None = None
    mtime: int = 0


class Shelf:
    """A library that matches when each word of the query is a part of the name."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.files = [
            ShelfFile(index, name, 1000 + index, name.encode().ljust(20, b".")[:20])
            for index, name in enumerate(names, 1)
        ]
        self.file_count = len(self.files)
        self.kbytes = len(self.files)
        #: How often it was asked.
        self.asked = 0

    def answer(self, payload: bytes, limit: int) -> Sequence[ShelfFile]:
        self.asked += 1
        words = payload[2:].partition(b"\0")[0].decode("utf-8", "replace").lower().split()
        found = [file for file in self.files if words and all(word in file.name.lower() for word in words)]
        return found[:limit]


def make_router(
    names: Iterable[str] = (),
    *,
    settings: RoutingSettings | None = None,
    servent_id: Guid = OWN_SERVENT,
    address: Address = OWN_ADDRESS,
    allow_private: bool = True,
    seed: int = 1,
    **options: Any,
) -> Router:
    """A router that shares `names`, with a seeded source of chance."""
    return Router(
        settings or RoutingSettings(),
        servent_id,
        Shelf(names),
        lambda link_host: address,
        random.Random(seed),
        allow_private=allow_private,
        **options,
    )


def open_links(router: Router, count: int, now: float = 0.0, **info: Any) -> list[LinkId]:
    """Open links 0, 1, ... to 10.1.1.N; `info` are fields of LinkInfo."""
    links = [LinkId(number) for number in range(count)]
    for link in links:
        router.link_opened(link, LinkInfo(f"10.1.1.{link + 1}", OWN_ADDRESS.host, **info), now)
    return links


def guid_of(number: int) -> Guid:
    """A GUID that is easy to recognise."""
    return Guid(number.to_bytes(8, "big") + b"\xff" + bytes(7))


def query_bytes(text: str = "hello", guid: Guid | None = None, *, ttl: int = 4, hops: int = 1) -> bytes:
    """A whole query."""
    return encode(guid_of(1) if guid is None else guid, ttl, hops, Query(text))


def sent_by(actions: Iterable[Action]) -> dict[LinkId, list[Frame]]:
    """Link -> the messages that the actions send to it, in order."""
    sent: dict[LinkId, list[Frame]] = {}
    for action in actions:
        if isinstance(action, Flood):
            for link in action.links:
                sent.setdefault(link, []).extend(frames(action.data))
        elif isinstance(action, Send):
            sent.setdefault(action.link, []).extend(frames(action.data))
    return sent


def events_of(actions: Iterable[Action]) -> list[object]:
    """The events that the actions emit."""
    return [action.event for action in actions if isinstance(action, Emit)]


def closes_of(actions: Iterable[Action]) -> dict[LinkId, DropReason]:
    """Links that the actions close, and why."""
    return {action.link: action.reason for action in actions if isinstance(action, Close)}
