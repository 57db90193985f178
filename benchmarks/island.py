"""An island of real processes that start at the same time with role auto: who becomes what, and does everybody find every file?

    python -m benchmarks.island [--nodes 15] [--kill | --freeze] [--seconds 60]

Each node is a daemon (`twistd -n gnutella`) of its own on loopback with one file of its own, and is told the address of one
other node: the first one's.  Nothing else is configured but profile lan without multicast, so that addresses come from
handshakes and pongs.  Settled means: every leaf has an ultrapeer, every ultrapeer a way to each other one (they are linked
through open links of ultrapeers), and nobody's role has changed for 20 s.  Then every node searches for each file.  With
--kill the ultrapeer with the most leaves is killed, and the time is taken until each of its leaves has a link again, while a
download goes on between two leaves.  With --freeze it is stopped instead (SIGSTOP), so that its system still takes what is sent
to it, and the time is also taken until each of its leaves has given it up.  Prints one JSON line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.live.daemon import Daemon

#: Seconds without a change of role after which the island counts as settled.
QUIET_S = 20.0
#: Seconds after which an ultrapeer takes one more query of a leaf that has asked ten at once.
QUERY_PAUSE_S = 5.0
POLL_S = 0.5
#: Size of the file that is fetched while an ultrapeer dies, and the rate it is sent at: about 10 s.
LARGE = 4_000_000
KIB_S = 400
NAMES = ("amber", "basalt", "cobalt", "dolomite", "emerald", "feldspar", "garnet", "hematite", "iolite", "jasper")


def word(number: int) -> str:
    """A word that only one node's file has."""
    return f"{NAMES[number % len(NAMES)]}{number}"


class Island:
    """The nodes, in order; the first one's address is known to all."""

    def __init__(self, directory: Path, count: int) -> None:
        self._directory = directory
        self.nodes: list[Daemon] = []
        self._count = count

    def start(self, stack: ExitStack) -> None:
        """All at the same time; only the port of the first must be known before the others start."""
        first = self._node(0)
        stack.enter_context(first)
        self.nodes = [first, *(self._node(number, first.peer) for number in range(1, self._count))]
        for node in self.nodes[1:]:
            node.launch()
            stack.push(node)

    def _node(self, number: int, *connect: str) -> Daemon:
        directory = self._directory / f"n{number}"
        shared = directory / "shared"
        shared.mkdir(parents=True)
        (shared / f"{word(number)} stone.txt").write_text(f"about {word(number)}\n")
        if number == 1:
            (shared / "whale.bin").write_bytes(random.Random(1).randbytes(LARGE))
        (directory / "gnutella.toml").write_text(
            f"[network]\nconnect = {json.dumps(list(connect))}\n\n[bootstrap]\nmulticast = false\n\n"
            f'[sharing]\ndirectories = ["{shared}"]\n\n[transfers]\nupload_kib_s = {KIB_S}\n'
        )
        return Daemon(directory, "--profile", "lan", "--role", "auto")

    def look(self) -> list[dict[str, Any]]:
        """Role and links of every node; a node that does not answer yet is left out of what it says."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(_look, [node for node in self.nodes if node.is_alive]))


def _look(node: Daemon) -> dict[str, Any]:
    unready = {"name": node.directory.name, "ready": False, "role": "?", "peers": []}
    try:
        status, peers = node.status(), node.rows("peers")
    except (OSError, ValueError, LookupError, AssertionError):
        return unready
    keys = ("role", "role_reason", "role_since_s", "ready")
    told = {key: status[key] for key in keys}
    return {**unready, "at": status["listen"][0], "peers": peers, **told} if status["ready"] else unready


def is_settled(rows: list[dict[str, Any]]) -> bool:
    """Every leaf has an ultrapeer, all ultrapeers hang together, and no role has changed for a while."""
    if not all(row["ready"] and row["role_since_s"] >= QUIET_S for row in rows):
        return False
    ultrapeers = {row["at"] for row in rows if row["role"] == "ultrapeer"}
    if not all(any(peer["address"] in ultrapeers for peer in row["peers"]) for row in rows if row["role"] == "leaf"):
        return False
    links = {
        row["at"]: {peer["address"] for peer in row["peers"]} & ultrapeers for row in rows if row["at"] in ultrapeers
    }
    reached: set[str] = set()
    new = {min(ultrapeers)} if ultrapeers else set()
    while new:
        reached |= new
        new = {other for at in new for other in links[at]} - reached
    return bool(ultrapeers) and reached == ultrapeers


def settle(island: Island, seconds: float) -> tuple[float | None, list[dict[str, Any]]]:
    """Seconds from now until the island is settled (less the quiet time), None if it is not in time; and how it looks then."""
    began = time.monotonic()
    while True:
        rows = island.look()
        if is_settled(rows):
            return time.monotonic() - began - QUIET_S, rows
        if time.monotonic() - began > seconds + QUIET_S:
            return None, rows
        time.sleep(POLL_S)


def finds(island: Island) -> tuple[int, list[str]]:
    """How many of all pairs (asker, file of another) were found, and those that were not."""
    count = len(island.nodes)

    def ask(asker: int) -> list[str]:
        missing = []
        for number in range(count):
            if number != asker:
                missing += [] if is_found(island.nodes[asker], word(number)) else [f"n{asker} {word(number)}"]
        return missing

    with ThreadPoolExecutor(2) as pool:
        missing = [name for names in pool.map(ask, range(count)) for name in names]
    return count * (count - 1) - len(missing), missing


def is_found(asker: Daemon, text: str) -> bool:
    """Asked once more after a pause, since ultrapeers take ten queries of a leaf at once and then one in five seconds."""
    for _ in range(2):
        if asker.cli("search", text, "--wait", "5", "--limit", "1").returncode == 0:
            return True
        time.sleep(QUERY_PAUSE_S)
    return False


def kill_one(island: Island, is_frozen: bool) -> dict[str, Any]:
    """Kill or stop the ultrapeer with the most leaves while a leaf downloads; when its leaves are linked again."""
    rows = {row["name"]: row for row in island.look()}

    def leaves(row: dict[str, Any]) -> list[str]:
        return (
            [peer["address"] for peer in row["peers"] if peer["role"] == "leaf"] if row["role"] == "ultrapeer" else []
        )

    victim = max((row for row in rows.values() if row["name"] != "n1"), key=lambda row: len(leaves(row)))
    orphans = {row["name"] for row in rows.values() if row["at"] in leaves(victim)}
    asker = next(node for node in island.nodes if node.directory.name in orphans - {"n1"})
    hit = next(row for row in json_rows(asker, "search", "whale", "--wait", "10", "--limit", "1"))
    asker.cli("get", str(hit["hit"]))
    dead = next(node for node in island.nodes if node.directory.name == victim["name"])
    dead.signal(signal.SIGSTOP if is_frozen else signal.SIGKILL)
    if not is_frozen:
        dead.ended()
    island.nodes.remove(dead)
    result = {"leaves": len(orphans), **watch_orphans(island, orphans, victim["at"])}
    if is_frozen:
        dead.signal(signal.SIGKILL)
        dead.ended()
    return {**result, "download": ended(asker)}


def watch_orphans(island: Island, orphans: set[str], dead: str) -> dict[str, Any]:
    """How many have no other ultrapeer at first, when all have one, and when nobody counts on the dead one any more."""
    began = time.monotonic()
    alone: int | None = None
    relinked = given_up = None
    while (relinked is None or given_up is None) and time.monotonic() - began < 120.0:
        now = {row["name"]: row for row in island.look() if row["ready"]}
        took = round(time.monotonic() - began, 2)
        others = {name: now.get(name, {}).get("peers", ()) for name in orphans}
        left = [
            name
            for name, peers in others.items()
            if not any(peer["role"] == "ultrapeer" and peer["address"] != dead for peer in peers)
            and now.get(name, {}).get("role") != "ultrapeer"
        ]
        alone = len(left) if alone is None else alone
        if not left and relinked is None:
            relinked = took
        if given_up is None and not any(peer["address"] == dead for peers in others.values() for peer in peers):
            given_up = took
        time.sleep(POLL_S)
    return {"alone_at_first": alone, "relinked_s": relinked, "given_up_s": given_up}


def json_rows(node: Daemon, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in node.cli(*words, "--json").stdout.splitlines()]


def ended(node: Daemon) -> str:
    """How the download ended: its file is the one that was shared."""
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        (row, *_) = node.rows("downloads")
        if row["state"] in ("done", "failed"):
            break
        time.sleep(POLL_S)
    right = hashlib.sha1(random.Random(1).randbytes(LARGE)).digest()
    whole = [path for path in (node.directory / "incoming").iterdir() if path.name == "whale.bin"]
    is_right = bool(whole) and hashlib.sha1(whole[0].read_bytes()).digest() == right
    return "complete" if is_right else str(row["state"])


def run(directory: Path, count: int, seconds: float, kill: bool, freeze: bool) -> dict[str, Any]:
    """One island."""
    island = Island(directory, count)
    with ExitStack() as stack:
        island.start(stack)
        took, rows = settle(island, seconds)
        roles = sorted((row.get("role", "?"), row["name"]) for row in rows)
        found, missing = finds(island) if took is not None else (0, ["not settled"])
        result: dict[str, Any] = {
            "nodes": count,
            "settled_s": None if took is None else round(took, 1),
            "ultrapeers": [name for role, name in roles if role == "ultrapeer"],
            "leaves": sum(role == "leaf" for role, _ in roles),
            "links": sum(len(row.get("peers", ())) for row in rows) // 2,
            "pairs": count * (count - 1),
            "found": found,
            "missing": missing[:10],
        }
        if (kill or freeze) and took is not None:
            result["frozen" if freeze else "killed"] = kill_one(island, freeze)
        result["faults"] = [line for node in island.nodes for line in node.faults()][:10]
        if took is None:
            result["rows"] = rows
        return result


def main() -> int:
    """0 if it settled and everything was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--freeze", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="island-") as directory:
        result = run(Path(directory), options.nodes, options.seconds, options.kill, options.freeze)
    print(json.dumps(result))
    return 0 if result["settled_s"] is not None and result["found"] == result["pairs"] else 1


if __name__ == "__main__":
    sys.exit(main())
