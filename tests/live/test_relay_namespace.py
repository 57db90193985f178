"""What leaves an origin while its user searches, fetches, cancels, resumes and fails: cells on relay links, and nothing else.

The origin is a daemon in a network namespace of its own, on a cable to the namespace of all others and with a default route
over it, so that whatever it sends to anybody leaves by an interface on which every packet is logged; its loopback too.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gnutella.testing.machine import needs_root, tool
from tests.live.daemon import BIN, wait_until
from tests.live.relay_island import RULES, SETTLED_S, RelayDaemon, make_file, start_after_first
from tests.live.test_lan_discovery import ip

pytestmark = [pytest.mark.live, needs_root, pytest.mark.timeout(150)]

OTHERS = 4
ORIGIN, WORLD = "10.78.0.2", "10.78.0.1"
PORT = 7100
ETH_P_ALL, ETH_P_IP, ETH_P_ARP = 3, 0x0800, 0x0806
#: setns(2) to a network namespace.
CLONE_NEWNET = 0x40000000

#: Kind, host, port here, port there.
Flow = tuple[str, str, int, int]


class Machine(RelayDaemon):
    """A daemon of that namespace, which looks for nobody of the plain overlay by itself."""

    def __init__(self, namespace: str, directory: Path, host: str, port: int) -> None:
        quiet = {"GNUTELLA_BOOTSTRAP_MULTICAST": "false", "GNUTELLA_BOOTSTRAP_MDNS": "false"}
        quiet |= {"GNUTELLA_NETWORK_WANT_LINKS": "0", "GNUTELLA_ANONYMOUS_CONNECT": f"{WORLD}:{PORT}"}
        super().__init__(directory, environ={**RULES, **quiet})
        front = ["ip", "netns", "exec", namespace, str(BIN / "twistd"), "-n", "--pidfile=", "gnutella"]
        listen = ("--listen", f"tcp:{port}:interface={host}", "--console", "off", "--profile", "lan")
        self._command = [*front, "--dir", str(directory), *listen]


class Log:
    """Every packet that leaves by any interface of a namespace, and how many there were."""

    def __init__(self, namespace: str) -> None:
        self.seen: Counter[Flow] = Counter()
        self._is_over = False
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(namespace,), daemon=True)
        self._thread.start()
        assert self._is_up.wait(10), "nothing can be logged here"

    def stop(self) -> None:
        self._is_over = True
        self._thread.join(10)

    def _run(self, namespace: str) -> None:
        # This thread alone goes there; its socket stays there.
        with open(f"/run/netns/{namespace}") as name:
            assert ctypes.CDLL(None).setns(name.fileno(), CLONE_NEWNET) == 0
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as tap:
            tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 20)
            tap.settimeout(0.1)
            self._is_up.set()
            while not self._is_over:
                try:
                    packet, (_, protocol, way, *_) = tap.recvfrom(128)
                except TimeoutError:
                    continue
                if way == socket.PACKET_OUTGOING:
                    self.seen[_flow(packet, protocol)] += 1

    def others(self) -> list[Flow]:
        """What is neither to a relay link's listening port nor from our own; ARP asks for the other end of the cable."""
        return [flow for flow in dict(self.seen) if flow[0] != "arp" and not _is_to_relay(*flow)]


def _is_to_relay(kind: str, host: str, here: int, there: int) -> bool:
    return (kind, host) == ("tcp", WORLD) and (here == PORT or PORT <= there < PORT + OTHERS)


def _flow(packet: bytes, protocol: int) -> Flow:
    if protocol != ETH_P_IP:
        return ("arp" if protocol == ETH_P_ARP else f"ethertype {protocol:#06x}"), "", 0, 0
    kind = {6: "tcp", 17: "udp"}.get(packet[9], f"ip {packet[9]}")
    here, there = struct.unpack_from(">HH", packet, (packet[0] & 15) * 4) if kind in ("tcp", "udp") else (0, 0)
    return kind, socket.inet_ntoa(packet[16:20]), here, there


@pytest.fixture
def machines() -> Iterator[tuple[str, str]]:
    """Namespaces of the origin and of all others, on one cable; the way to everywhere leads over it."""
    tool("ip")
    names = (f"ro{os.getpid()}", f"rw{os.getpid()}")
    with ExitStack() as undo:
        for name in names:
            ip("netns", "add", name)
            undo.callback(ip, "netns", "del", name)
            # No neighbour discovery: of IPv6 there is nothing at all.
            ip("netns", "exec", name, sys.executable, "-c", _NO_IPV6)
        ip("link", "add", "e0", "netns", names[0], "type", "veth", "peer", "name", "e0", "netns", names[1])
        for name, host, other in ((names[0], ORIGIN, WORLD), (names[1], WORLD, ORIGIN)):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"{host}/24", "dev", "e0")
            ip("-n", name, "link", "set", "e0", "up")
            ip("-n", name, "route", "add", "default", "via", other)
        yield names


_NO_IPV6 = """
import pathlib
for name in ("all", "default"):
    switch = pathlib.Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
    if switch.exists():
        switch.write_text("1")
"""
#: What a node that forgets itself does: asks for a name, sends a datagram, connects.
_STRAY = """
import socket
try:
    socket.getaddrinfo("cache.example.org", 80)
except OSError:
    pass
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 6346))
line = socket.socket()
line.settimeout(0.2)
try:
    line.connect(("192.0.2.1", 80))
except OSError:
    pass
"""


def test_an_origin_sends_to_its_relay_links_only(tmp_path: Path, machines: tuple[str, str]) -> None:
    data = make_file(tmp_path / "through a glass.txt", 3_000_000)
    make_file(tmp_path / "looking back.txt", 50_000, 2)
    with ExitStack() as undo:
        log = Log(machines[0])
        undo.callback(log.stop)
        world = [Machine(machines[1], tmp_path / f"w{n}", WORLD, PORT + n) for n in range(OTHERS)]
        origin = Machine(machines[0], tmp_path / "origin", ORIGIN, PORT)
        nodes = [*world, origin]
        for node in nodes:
            undo.callback(node.__exit__)
        start_after_first(nodes)
        wait_until(lambda: all(_is_settled(node) for node in nodes), "all know all", SETTLED_S)
        stored = world[0].put(tmp_path / "through a glass.txt")
        assert stored["state"] == "done", stored["error"]
        _use(origin, stored["uri"], data, tmp_path)
        assert log.others() == []
        assert sum(count for flow, count in log.seen.items() if _is_to_relay(*flow)) > 100
        for node in nodes:
            # Nor were the same ports used for anything but the relay layer.
            assert node.rows("peers") == [] == node.rows("uploads")
            assert not [key for key in node.status()["traffic"] if key.startswith("messages_rx")]
        # Would it have been seen?
        ip("netns", "exec", machines[0], "env", "RES_OPTIONS=timeout:1 attempts:1", sys.executable, "-c", _STRAY)
        strays = {("udp", 53), ("udp", 6346), ("tcp", 80)}
        wait_until(lambda: {(flow[0], flow[3]) for flow in log.others()} >= strays, "strays are logged")
        assert [node.faults() for node in nodes] == [[]] * len(nodes)


def _is_settled(node: RelayDaemon) -> bool:
    status = node.relay()
    return bool(status["guard"] == "ready" and status["pivots"] == status["links"] == OTHERS)


def _use(origin: RelayDaemon, uri: str, data: bytes, directory: Path) -> None:
    """Search, fetch by hit and by key, cancel, resume, insert, offer, and all that fails."""
    (hit, *_) = origin.rows("anonymous search glass --wait 10 --limit 1 --gateway --accept-small-set 2")
    assert hit["uri"] == uri
    assert origin.job("search nobody has this --gateway", 1)["state"] == "refused"
    cut_off = origin.get(uri, 0.7)
    if cut_off["state"] != "done":
        assert origin.rows(f"anonymous cancel {cut_off['id']}")[0]["state"] == "cancelled"
    got = origin.get(uri)
    assert got["state"] == "done" and Path(got["path"]).read_bytes() == data
    assert origin.put(directory / "looking back.txt")["state"] == "done"
    assert origin.job(f"share '{directory / 'looking back.txt'}'")["state"] == "done"
    nobody = uri[:12] + ("B" if uri[12] == "A" else "A") + uri[13:]
    assert origin.get(nobody)["error"].startswith("DataNotFound")
    for line in ("get arl:chk:x", f"get {uri} --level strong", "get 7", "put /nowhere"):
        assert origin.job(line)["state"] == "refused"
    assert "AnonymitySetTooSmall" in origin.ask(f"anonymous get {uri}")[-1]
