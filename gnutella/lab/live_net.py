"""A network of real servents: the counterpart of net.py for processes on loopback ports.

Servents are children of a nursery (nursery.py), and reach each other through a relay (relay.py), which makes latencies, lines
and partitions of real connections.  Leaving the context ends all of them, however this program ends.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from gnutella.control.client import NodeClient
from gnutella.errors import UserError
from gnutella.lab.content import Content
from gnutella.lab.fronts import Fronts
from gnutella.lab.live_nodes import POLL_S, LiveNode, Nursery
from gnutella.lab.stream import Line
from gnutella.settings import RoutingSettings

#: Seconds that links may take to be known on both sides; those that are not by then are left as they are.
LINK_S = 5.0
#: Links that are dialled side by side; each is a console session of its dialler, which has room for 64.
DIALS_AT_ONCE = 40
#: What `connect` says of a peer that cannot be reached, or does not want the link (exit code).
_UNREACHED = 69


class LiveNet:
    """See the module text.  Every call waits until it is done."""

    def __init__(
        self, routing: RoutingSettings, line: Line, directory: Path | None = None, announced_ttl: int = 4
    ) -> None:
        self.nodes: dict[str, LiveNode] = {}
        self.nursery = Nursery(routing, announced_ttl)
        self.fronts = Fronts()
        self._line = line
        self._directory = directory
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._directory is None:
            self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="gnutella-lab-")))
        self._stack.enter_context(self.nursery)
        # Goes before the servents do: without connections they need not wait for anybody when they stop.
        self._stack.enter_context(self.fronts)
        self.fronts.line(None, None, self._line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def processes(self) -> list[int]:
        """Ids of all that were ever started."""
        return [self.fronts.process, *self.nursery.processes()]

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        files: Iterable[Content] = (),
        *,
        role: str = "peer",
        is_firewalled: bool = False,
        nat: str = "",
    ) -> LiveNode:
        """Start a servent of that name; `settle` waits until it is up."""
        assert self._directory is not None
        if name in self.nodes:
            raise UserError(f"node {name!r} exists", "give another name")
        node = LiveNode(name, self._directory / name, self.fronts.open(name))
        node.role, node.is_firewalled, node.nat = role, is_firewalled or bool(nat), nat
        if node.is_firewalled:
            self.fronts.shut(name, gateway=nat or None)
        self.nodes[name] = node
        (node.directory / "share").mkdir(parents=True, exist_ok=True)
        node.share(list(files))
        self.nursery.launch(node)
        return node

    def settle(self, nodes: Iterable[LiveNode]) -> None:
        """Wait until they listen and share their files."""
        for node in nodes:
            node.wait_ready()
            self.fronts.lead(node.name, node.behind, node.process)

    def revive(self, node: LiveNode) -> None:
        """Start a servent again, in its old directory."""
        if not node.is_up:
            self.nursery.launch(node)
            self.settle([node])

    def end(self, node: LiveNode, *, is_killed: bool, is_power_failure: bool = False) -> None:
        """Its process ends: killed, or asked to stop; with a power failure its peers do not hear of it."""
        if is_power_failure:
            self.fronts.vanish(node.name)
        self.nursery.end(node, is_killed=is_killed)
        self.fronts.lead(node.name, 0, 0)

    def running(self) -> list[LiveNode]:
        """Those whose servent runs."""
        return [node for node in self.nodes.values() if node.is_up]

    # -- links ---------------------------------------------------------------------------------------------------------

    def link(self, dialler: LiveNode, listener: LiveNode, line: Line | None = None) -> bool:
        """A link; whether there is one now."""
        if line is not None:
            self.fronts.line(dialler.name, listener.name, line)
        return bool(self._dial([(dialler, listener)]))

    def link_all(self, wanted: Iterable[tuple[LiveNode, LiveNode, Line]]) -> None:
        """Many links side by side, each dialled by its first node; those that cannot be had are left out."""
        pairs: list[tuple[LiveNode, LiveNode]] = []
        for dialler, listener, line in wanted:
            self.fronts.line(dialler.name, listener.name, line)
            pairs.append((dialler, listener))
        for start in range(0, len(pairs), DIALS_AT_ONCE):
            self.await_links(self._dial(pairs[start : start + DIALS_AT_ONCE]))

    def _dial(self, pairs: Sequence[tuple[LiveNode, LiveNode]]) -> list[tuple[LiveNode, LiveNode]]:
        """Those that have a link now."""
        made = []
        with ExitStack() as stack:
            clients = [stack.enter_context(NodeClient(dialler.socket_path)) for dialler, _ in pairs]
            for client, (_, listener) in zip(clients, pairs, strict=True):
                client.ask(f"connect {listener.address}")
            for client, pair in zip(clients, pairs, strict=True):
                try:
                    list(client.rest())
                except UserError as error:
                    if error.exit_code != _UNREACHED:
                        raise
                else:
                    made.append(pair)
        return made

    def await_links(self, pairs: Iterable[tuple[LiveNode, LiveNode]]) -> None:
        """Wait until the listeners, too, have their links: they hear the end of the handshake a latency later."""
        deadline = time.monotonic() + LINK_S
        diallers: dict[LiveNode, list[LiveNode]] = {}
        for dialler, listener in pairs:
            diallers.setdefault(listener, []).append(dialler)
        for listener, wanted in diallers.items():
            while not self._has_all(listener, wanted) and time.monotonic() < deadline:
                time.sleep(POLL_S)

    def _has_all(self, listener: LiveNode, diallers: list[LiveNode]) -> bool:
        """Whether it has their links; who cannot be dialled does not say where it listens, so those are only counted."""
        shown = [str(row["address"]) for row in listener.ask("peers")]
        known = {node.address for node in self.nodes.values() if not node.is_firewalled}
        named = {dialler.address for dialler in diallers if not dialler.is_firewalled}
        strangers = sum(address not in known for address in shown)
        return named <= set(shown) and strangers >= sum(dialler.is_firewalled for dialler in diallers)

    def partition(self, groups: Sequence[Iterable[str]]) -> None:
        """Nothing passes between the groups, and between a group and who is in none, until `heal`."""
        self.fronts.part({name: number for number, names in enumerate(groups, 1) for name in names})

    def heal(self) -> None:
        """All hear each other again."""
        self.fronts.heal()

    # -- changes -------------------------------------------------------------------------------------------------------

    def publish(self, node: LiveNode, files: list[Content]) -> None:
        """The node shares more files from now on."""
        node.share(files)
        node.ask("share rescan")
        node.wait_ready()

    def change(self, node: LiveNode, key: str, value: int) -> None:
        """firewalled, busy (0 or 1) or query_ttl (1 to 7) from now on."""
        if key == "query_ttl":
            node.ask(f"config set routing.query_ttl {int(value)}")
        elif key == "busy":
            node.ask("config set transfers.max_uploads " + ("0" if value else '""'))
        else:
            node.is_firewalled = bool(value)
            node.ask(f"config set network.firewalled {str(bool(value)).lower()}")
            if value:
                self.fronts.shut(node.name, gateway=node.nat or None)
            else:
                self.fronts.unshut(node.name)
