"""Whole nodes for tests: real sockets on loopback, real files, real hash workers, no consoles on TCP.

async with started(node_in(tmp_path / "a", reactor), node_in(tmp_path / "b", reactor, share=[music])) as (a, b):
    await a.links.connect(address_of(b))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gnutella.control.view import HitList
from gnutella.node import Node, build, start_nodes
from gnutella.settings import (
    BootstrapSettings,
    ControlSettings,
    NetworkSettings,
    RoutingSettings,
    SafetySettings,
    Settings,
    SharingSettings,
)
from gnutella.testing.aio import until

#: Settings of the section network unless others are given.
QUIET: dict[str, Any] = {
    "listen": ("tcp:0:interface=127.0.0.1",),
    "profile": "loopback",
    "role": "ultrapeer",
    "tls": False,
}


def node_in(
    directory: Path,
    reactor: Any,
    *,
    share: Sequence[Path] = (),
    network: dict[str, Any] | None = None,
    sharing: dict[str, Any] | None = None,
    bootstrap: dict[str, Any] | None = None,
    safety: dict[str, Any] | None = None,
    trace: str = "all",
) -> Node:
    """A node that listens on a free port and finds nobody by itself; the last arguments are settings of their sections.

    It is an ultrapeer at once, since most tests are not about roles.
    """
    settings = Settings(
        network=NetworkSettings(**{**QUIET, **(network or {})}),
        bootstrap=BootstrapSettings(**(bootstrap or {})),
        routing=RoutingSettings(trace=trace),  # type: ignore[arg-type]
        sharing=SharingSettings(
            **{"directories": tuple(map(str, share)), "watch": False, "rescan_s": 0, **(sharing or {})}
        ),
        control=ControlSettings(console="off"),
        safety=SafetySettings(**(safety or {})),
    )
    return build(settings, reactor, directory)


@asynccontextmanager
async def started(*nodes: Node) -> AsyncIterator[tuple[Node, ...]]:
    """Start all of them, and stop all of them at the end."""
    try:
        await start_nodes(list(nodes))
        yield nodes
    finally:
        for stopping in [node.stopService() for node in nodes]:
            await stopping


async def shared(node: Node, files: int) -> None:
    """Wait until so many files of the node are hashed and offered."""
    await until(node.reactor, lambda: node.library.catalog.file_count == files)


async def found(node: Node, words: str, rows: int = 1, sources: int = 1) -> HitList:
    """Search, wait for so many rows of which the first has so many sources, and stop."""
    hits = node.face.search(words)

    def enough() -> bool:
        listed: list[Any] = list(hits.rows)
        return len(listed) >= rows and len(listed[0]["sources"]) >= sources

    await until(node.reactor, enough)
    hits.stop()
    return hits


async def ended(node: Node, download: object) -> dict[str, Any]:
    """Wait until a download is done or has failed; its row."""
    number = int(str(download))
    await until(node.reactor, lambda: node.transfers.download(number)["state"] in ("done", "failed"))
    return node.transfers.download(number)
