"""As kill9.py, with two whole daemons: `twistd -n gnutella` at both ends, the download added with a magnet link.

The two are not linked: the link's `xs` names the counting proxy as the only source, so every byte of the file passes it.  Both
logs go on over the restarts and are read for faults at the end.
"""

from __future__ import annotations

import random
import signal
import socket
import time
from pathlib import Path
from typing import Any

from gnutella.protocol.magnet import Magnet, format_magnet
from gnutella.protocol.tth import node_size_for
from gnutella.units import Address
from tests.live.daemon import Daemon, wait_until
from tests.live.kill9 import CountingProxy, Outcome, make_file, sha1_of

NAME = "killed file.bin"
#: Seconds for what is left after the last kill, hashing included.
PATIENCE_S = 180.0


def run(directory: Path, size: int, kills: int, seed: int, upload_kib_s: int, longest_s: float) -> Outcome:
    """Download `size` random bytes while either daemon is killed `kills` times, at moments drawn from `seed`."""
    rng = random.Random(seed)
    shared = directory / "shared"
    shared.mkdir(parents=True)
    digest = make_file(shared / NAME, size, rng)
    port = _free_port()
    pace = {"GNUTELLA_TRANSFERS_UPLOAD_KIB_S": str(upload_kib_s)}
    listen = f"tcp:{port}:interface=127.0.0.1"
    up = Daemon(directory / "up", "--share", str(shared), "--listen", listen, environ=pace)
    down = Daemon(directory / "down", environ={"GNUTELLA_TRANSFERS_RETRY_S": "1"})
    incoming = directory / "down" / "incoming"
    outcome = Outcome(size, node_size_for(size), 0, {"uploader": 0, "downloader": 0})
    proxy = CountingProxy(port)
    try:
        up.start()
        wait_until(lambda: up.status()["shared"]["files"] == 1, "the file is hashed", PATIENCE_S)
        down.start()
        magnet = Magnet(bytes.fromhex(digest), size=size, name=NAME, sources=(Address("127.0.0.1", proxy.port),))
        down.json("get", format_magnet(magnet))
        for _ in range(kills):
            time.sleep(rng.uniform(0.01, longest_s))
            if _row(down).get("state") == "done":
                break
            victim = rng.choice(("uploader", "downloader"))
            outcome.kills[victim] += 1
            _kill(up if victim == "uploader" else down)
            outcome.early += [path.name for path in incoming.glob("*") if sha1_of(path) != digest]
            (up if victim == "uploader" else down).launch()
        wait_until(lambda: _row(down).get("state") == "done", "the download is complete", PATIENCE_S)
        outcome.is_right = sha1_of(Path(_row(down)["path"])) == digest
        outcome.is_clean = [path.name for path in incoming.iterdir()] == [NAME]
        assert up.is_alive and down.is_alive, "a daemon ended by itself"
    finally:
        for daemon in (down, up):
            daemon.__exit__()
        proxy.stop()
    outcome.fetched = proxy.body_bytes
    outcome.faults = up.faults() + down.faults()
    return outcome


def _kill(daemon: Daemon) -> None:
    assert daemon.is_alive, f"it ended by itself: {daemon.logged()[-2000:]}"
    daemon.signal(signal.SIGKILL)
    daemon.ended()


def _row(daemon: Daemon) -> dict[str, Any]:
    """The one download; empty while the daemon starts."""
    try:
        rows = daemon.rows("downloads")
    except (OSError, ValueError, AssertionError):
        return {}
    return rows[0] if rows else {}


def _free_port() -> int:
    """A port that was free a moment ago: the uploader must be found where it was before it was killed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
