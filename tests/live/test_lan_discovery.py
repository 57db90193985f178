"""Machines on one network find each other with nothing configured.

Each machine is a network namespace of this kernel: its own interfaces, no route to anywhere, joined by a virtual cable.  The
nodes are real daemons with nothing but a directory.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gnutella.testing.machine import needs_root, tool
from tests.live.daemon import BIN, Daemon, together, wait_until

pytestmark = [pytest.mark.live, needs_root]

SIZE = 700_000


class Machine(Daemon):
    """A daemon in a network namespace, with a directory and no other option unless given."""

    def __init__(self, namespace: str, directory: Path, *options: str) -> None:
        super().__init__(directory)
        front = ["ip", "netns", "exec", namespace, str(BIN / "twistd"), "-n", "--pidfile=", "gnutella"]
        self._command = [*front, "--dir", str(directory), *options]

    @property
    def linked(self) -> list[str]:
        return [str(row["address"]) for row in self.rows("peers")]


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@pytest.fixture
def machines() -> Iterator[tuple[str, str]]:
    """Two namespaces on one cable, as 10.77.0.1 and 10.77.0.2."""
    tool("ip")
    names = (f"gn{os.getpid()}a", f"gn{os.getpid()}b")
    with ExitStack() as undo:
        for name in names:
            ip("netns", "add", name)
            undo.callback(ip, "netns", "del", name)
        ip("link", "add", "e0", "netns", names[0], "type", "veth", "peer", "name", "e0", "netns", names[1])
        for number, name in enumerate(names, 1):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "e0")
            ip("-n", name, "link", "set", "e0", "up")
        yield names


def test_two_machines_with_nothing_configured_find_each_other_and_move_a_file(
    tmp_path: Path, machines: tuple[str, str]
) -> None:
    content = random.Random(5).randbytes(SIZE)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "lonely island song.ogg").write_bytes(content)
    a, b = Machine(machines[0], tmp_path / "a"), Machine(machines[1], tmp_path / "b")
    with together(a, b):
        wait_until(lambda: a.linked and b.linked, "they are linked")
        addresses = {*a.linked, *b.linked}
        assert addresses <= {"10.77.0.1:6346", "10.77.0.2:6346"} and addresses
        b.rows(f"share add '{tmp_path / 'files'}'")
        wait_until(lambda: b.status()["shared"]["files"] == 1, "the file is hashed")
        (hit, *_) = a.json("search", "lonely", "island", "--wait", "10", "--limit", "1")
        a.json("get", str(hit["hit"]), "--wait", "30")
        (got,) = (tmp_path / "a" / "incoming").iterdir()
        assert hashlib.sha1(got.read_bytes()).digest() == hashlib.sha1(content).digest()
        assert a.faults() == b.faults() == []


def test_nodes_that_share_a_machine_find_each_other_too_and_no_node_finds_itself(
    tmp_path: Path, machines: tuple[str, str]
) -> None:
    equals, other_port = ("--role", "ultrapeer"), ("--listen", "tcp:0", "--console", "off")
    a, b, c = nodes = (
        Machine(machines[0], tmp_path / "a", *equals),
        Machine(machines[0], tmp_path / "b", *equals, *other_port),
        Machine(machines[1], tmp_path / "c", *equals),
    )
    with together(a, b, c):
        wait_until(lambda: all(len(node.linked) == 2 for node in nodes), "each is linked with both others")
        assert all(node.dropped().get("self_link", 0) == 0 for node in nodes)
        assert all(node.dropped().get("own_message", 0) > 0 for node in nodes)  # calls come back by multicast
        assert [node.faults() for node in nodes] == [[], [], []]


@pytest.mark.parametrize("options", [("--profile", "public"), ("--profile", "loopback")])
def test_other_profiles_neither_call_nor_answer_calls(
    tmp_path: Path, machines: tuple[str, str], options: tuple[str, ...]
) -> None:
    a, b = Machine(machines[0], tmp_path / "a"), Machine(machines[1], tmp_path / "b", *options)
    with together(a, b):
        wait_until(lambda: a.status()["traffic"].get("messages_tx_ping", 0) >= 2, "a called twice")
        assert a.linked == b.linked == []
        assert "messages_rx_ping" not in b.status()["traffic"]
        traffic = a.status()["traffic"]
        assert traffic["messages_rx_ping"] == traffic["dropped_own_message"] > 0  # its own calls, and nobody else's


@pytest.mark.skipif(importlib.util.find_spec("zeroconf") is None, reason="zeroconf, the extra `mdns`, is not installed")
def test_mdns_alone_finds_the_other_machine_too(tmp_path: Path, machines: tuple[str, str]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "gnutella.toml").write_text("[bootstrap]\nmulticast = false\n")
    a, b = Machine(machines[0], tmp_path / "a"), Machine(machines[1], tmp_path / "b")
    with together(a, b):
        wait_until(lambda: a.linked and b.linked, "they are linked")
        assert {*a.linked, *b.linked} <= {"10.77.0.1:6346", "10.77.0.2:6346"}
        mdns = a.status()["bootstrap"]["mdns"]
        assert mdns == {"state": "running", "services": 1}
        assert a.faults() == b.faults() == []
