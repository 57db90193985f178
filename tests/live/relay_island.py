"""An island of daemons with the relay layer: real processes over TLS on loopback, for tests and benchmarks.

    with Island(directory, count) as island: row = island.put(1, path); island.get(2, row["uri"])

Each is told of the first one only.  The rules that need days or many networks are off, and so are limits of rate.
"""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.live.daemon import Daemon, wait_until

#: Settings of an island: no waiting for age, no rule about networks, no limit of rate.
RULES = {
    "GNUTELLA_ANONYMOUS_ENABLED": "true",
    "GNUTELLA_ANONYMOUS_MIN_AGE_H": "0",
    "GNUTELLA_ANONYMOUS_MIN_SOURCES": "0",
    "GNUTELLA_ANONYMOUS_BY_NETWORK": "false",
    "GNUTELLA_ANONYMOUS_CIRCUIT_KIB_S": "0",
    "GNUTELLA_ANONYMOUS_RELAY_KIB_S": "0",
}
#: So few others are accepted here.
SMALL = "--accept-small-set 2"
#: Seconds until all know all.
SETTLED_S = 120.0


class RelayDaemon(Daemon):
    """A daemon with the layer on."""

    def relay(self) -> dict[str, Any]:
        """`anonymous status`; empty while the layer starts."""
        said = self.ask("anonymous status")
        return dict(json.loads(said[0][4:])) if said[-1].startswith("250 ") else {}

    def is_ready(self) -> bool:
        try:
            return bool(super().is_ready() and self.relay())
        except (OSError, ValueError, LookupError):
            return False

    def job(self, line: str, wait_s: float = 300.0) -> dict[str, Any]:
        """What the job of `anonymous LINE` became."""
        said = self.ask(f"anonymous {line} {SMALL} --wait {wait_s:g}")
        rows = [json.loads(text[4:]) for text in said if text.startswith("250-")]
        return dict(rows[-1]) if rows else {"state": "refused", "error": said[-1]}

    def get(self, uri: str, wait_s: float = 300.0) -> dict[str, Any]:
        return self.job(f"get {uri}", wait_s)

    def put(self, path: Path, more: str = "") -> dict[str, Any]:
        return self.job(f"put '{path}' {more}")


class Island:
    """See the module text; `nodes` are in order."""

    def __init__(
        self,
        directory: Path,
        count: int,
        *,
        command: list[str] | None = None,
        options: Sequence[str] = (),
        environ: dict[str, str] | None = None,
    ) -> None:
        rules = {**RULES, **(environ or {})}
        self.port = free_port()
        self.nodes: list[RelayDaemon] = []
        for number in range(count):
            port = self.port if number == 0 else 0
            more = {} if number == 0 else {"GNUTELLA_ANONYMOUS_CONNECT": f"127.0.0.1:{self.port}"}
            listen = f"tcp:{port}:interface=127.0.0.1"
            node = RelayDaemon(
                directory / str(number),
                *("--listen", listen, "--console", "off", *options),
                command=command,
                environ={**rules, **more},
            )
            self.nodes.append(node)
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                self._undo.callback(node.__exit__)
            start_after_first(self.nodes)
            self.settle()
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._undo.close()

    def settle(self) -> None:
        """Wait until all know all, and have a guard."""
        wait_until(lambda: all(self.is_settled(node) for node in self.nodes), "all know all", SETTLED_S)

    def is_settled(self, node: RelayDaemon) -> bool:
        status = node.relay()
        return bool(status and status["guard"] == "ready" and status["pivots"] == len(self.nodes) - 1)

    def faults(self) -> list[str]:
        """Lines of any log that should not be there."""
        return [line for node in self.nodes for line in node.faults()]


def start_after_first(nodes: Sequence[RelayDaemon]) -> None:
    """Start the one that all know of, then the others at once, so that nobody calls in vain and has to call again later."""
    first, *others = nodes
    first.start()
    for node in others:
        node.launch()
    wait_until(lambda: all(node.is_ready() for node in others), "all are ready", SETTLED_S)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def make_file(path: Path, size: int, seed: int = 1) -> bytes:
    """Bytes that nobody else has; what is in it."""
    data = random.Random(seed).randbytes(size)
    path.write_bytes(data)
    return data
