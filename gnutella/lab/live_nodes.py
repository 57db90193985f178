"""Real servents of a live run, and the nursery that they are children of."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from msgspec import structs

from gnutella.control.client import NodeClient
from gnutella.errors import UserError
from gnutella.lab.child import Child
from gnutella.lab.content import Content
from gnutella.settings import RoutingSettings
from gnutella.sharing.catalog import SharedFile

#: Seconds until a servent must be up and share its files, and until a link must stand.
UP_S = 60.0
POLL_S = 0.03
#: What only this node has; the rest comes from the environment and the options.
_SETTINGS = """\
[network]
advertise = "{node.address}"
firewalled = {firewalled}
role = "{role}"
"""


def _words(node: LiveNode) -> dict[str, str]:
    """Values of the settings file."""
    role = node.role if node.role in ("leaf", "auto") else "ultrapeer"  # an equal relays as those do
    return {"firewalled": "true" if node.is_firewalled else "false", "role": role}


class LiveNode:
    """One servent: its directory, its process, what it shares.  `address` is its front's, which the others know it by."""

    def __init__(self, name: str, directory: Path, front: int) -> None:
        self.name = name
        self.directory = directory
        self.front = front
        self.address = f"127.0.0.1:{front}"
        self.process = 0
        self.behind = 0
        self.files: list[Content] = []
        self.is_firewalled = False
        self.nat = ""
        self.role = "peer"
        self.is_up = False
        #: How often it was started.
        self.starts = 0
        self.socket_path = str(directory / "control.sock")

    def ask(self, line: str) -> list[dict[str, Any]]:
        """Rows of one command."""
        with NodeClient(self.socket_path) as client:
            return list(client.rows(line))

    def status(self) -> dict[str, Any]:
        """The row of `status`."""
        return self.ask("status")[0]

    def wait_ready(self) -> None:
        """Until it listens and shares all its files."""
        deadline = time.monotonic() + UP_S
        while time.monotonic() < deadline:
            if os.path.exists(self.socket_path):
                try:
                    status = self.status()
                except UserError:
                    status = {}
                if status.get("ready") and status["shared"]["files"] >= len(self.files):
                    self.behind = int(str(status["listen"][0]).rpartition(":")[2])
                    return
            time.sleep(POLL_S)
        log = (self.directory / "log").read_text("utf-8", "replace")[-500:] if (self.directory / "log").exists() else ""
        raise UserError(f"the servent {self.name} does not come up", log.strip().rpartition("\n")[2], 75)

    def connect(self, peer: LiveNode) -> None:
        """Open a link to that peer."""
        self.ask(f"connect {peer.address}")

    def share(self, files: list[Content]) -> None:
        """Put more files where it finds them."""
        for file in files:
            (self.directory / "share" / file.name).write_bytes(file.content)
        self.files = [*self.files, *files]

    def shared(self) -> list[SharedFile]:
        """Its files as a catalog of the lab has them."""
        return [file.shared(number) for number, file in enumerate(self.files, 1)]


class Nursery(Child):
    """The process that starts the servents; leaving its context ends them all."""

    MODULE, CALLED = "gnutella.lab.nursery", "nursery of servents"
    #: It waits up to 6 s for its children.
    END_S = 20.0

    def __init__(self, routing: RoutingSettings, announced_ttl: int) -> None:
        super().__init__()
        self._routing = routing
        self._announced_ttl = announced_ttl
        self._started: list[int] = []

    def environment(self) -> dict[str, str]:
        return {
            name: value for name, value in os.environ.items() if not name.startswith("GNUTELLA_")
        } | self._settings()

    def _settings(self) -> dict[str, str]:
        """The environment that every servent gets: only links of the scenario, and every query traced."""
        routing = {**structs.asdict(self._routing), "trace": "all"}
        return {
            **{f"GNUTELLA_ROUTING_{key.upper()}": str(value) for key, value in routing.items()},
            "GNUTELLA_NETWORK_WANT_LINKS": "0",
            "GNUTELLA_NETWORK_ANNOUNCED_TTL": str(self._announced_ttl),
            "GNUTELLA_SHARING_RESCAN_S": "0",
        }

    def launch(self, node: LiveNode) -> None:
        """Start its servent; it is not ready yet."""
        directory = node.directory
        (directory / "share").mkdir(parents=True, exist_ok=True)
        (directory / "gnutella.toml").write_text(_SETTINGS.format(node=node, **_words(node)), encoding="utf-8")
        options = ["--dir", str(directory), "--listen", "tcp:0:interface=127.0.0.1", "--profile", "loopback"]
        options += ["--console", "off", "--share", str(directory / "share")]
        node.process = int(self.order(*options))
        node.is_up = True
        node.starts += 1
        self._started.append(node.process)

    def end(self, node: LiveNode, *, is_killed: bool) -> None:
        """The servent's process ends: killed, or asked to stop."""
        self.order("kill" if is_killed else "stop", node.process)
        node.is_up = False

    def processes(self) -> list[int]:
        """Ids of all that were ever started, the nursery's own first."""
        return [*([self.process] if self.process else []), *self._started]
