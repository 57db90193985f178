"""What moving a file costs, between two nodes and against nginx.

    python -m benchmarks.transfer nodes  [--mib 1024] [--runs 1] [--driver daemons|service]
    python -m benchmarks.transfer nginx  [--mib 1024] [--rounds 5]

`nodes`: one process shares a file of random bytes, another one downloads it over loopback, verifies every leaf and the whole
SHA-1, and puts it into incoming/.  With the daemons driver both are `twistd -n gnutella` and everything is done with the
`gnutella` command (connect, search, get); with the service driver two bare transfer services are driven.  Seconds count from
the order to `done` as the node tells it.  `nginx`: curl fetches the same file from our upload port and from nginx (sendfile
on) in turn, several rounds, medians.  CPU is user + system of all processes of a side, hash workers included, from /proc.
Each run prints one JSON line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.live.kill9 import Node

MIB = 1024 * 1024
BIN = Path(sys.executable).parent
TICK = os.sysconf("SC_CLK_TCK")
#: Longest wait for anything.
PATIENCE_S = 300.0


# -- measuring ---------------------------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """User + system seconds of a process and of its living and reaped children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICK + sum(cpu_seconds(int(child)) for child in children)


def make_file(path: Path, mib: int) -> str:
    """Random bytes; their SHA-1 in hex."""
    digest = hashlib.sha1()
    with open(path, "wb") as file:
        for _ in range(mib):
            block = os.urandom(MIB)
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def sha1_of(path: Path) -> str:
    """Of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


def wait_until(what: str, look: Any, poll_s: float = 0.01) -> Any:
    """The first true value of `look()`."""
    end = time.monotonic() + PATIENCE_S
    while not (found := look()):
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not happen in {PATIENCE_S:g} s")
        time.sleep(poll_s)
    return found


# -- two nodes ---------------------------------------------------------------------------------------------------------


class Daemon:
    """`twistd -n gnutella` in a directory of its own, and the command that talks to it."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        command = [
            str(BIN / "twistd"),
            "-n",
            "--pidfile=",
            "gnutella",
            "--dir",
            str(directory),
            "--profile",
            "loopback",
        ]
        command += ["--listen", "tcp:0:interface=127.0.0.1", "--console", "off", "--http", "off", *options]
        self._log = open(directory / "log", "wb")  # noqa: SIM115 - closed by stop()
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)

    def ask(self, *words: str) -> list[dict[str, Any]]:
        """Rows of a command; none when it found nothing or the node is not there yet."""
        command = [str(BIN / "gnutella"), *words, "--dir", str(self.directory), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def status(self) -> dict[str, Any]:
        """The row of `gnutella status`, empty before the node answers."""
        return next(iter(self.ask("status")), {})

    def port(self) -> str:
        """HOST:PORT where it listens."""
        listening = wait_until("listening", lambda: self.status().get("listen"))
        return str(listening[0]).removeprefix("tcp:")

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self._log.close()


def by_daemons(directory: Path, shared: Path, size: int) -> dict[str, float]:
    """connect, search, get; seconds and CPU of both."""
    giver = Daemon(directory / "giver", "--share", str(shared))
    getter = Daemon(directory / "getter")
    try:
        wait_until("hashing", lambda: giver.status().get("shared", {}).get("files") == 1, 0.2)
        getter.port()
        getter.ask("connect", giver.port())
        wait_until("a hit", lambda: getter.ask("search", "benchmark", "--wait", "2"), 0.5)
        before = cpu_seconds(giver.process.pid), cpu_seconds(getter.process.pid)
        began = time.monotonic()
        row = getter.ask("get", "1", "--wait", str(PATIENCE_S))[-1]
        seconds = time.monotonic() - began
        if row["state"] != "done":
            row = wait_until("done", lambda: [row for row in getter.ask("downloads") if row["state"] == "done"], 0.1)[0]
            seconds = time.monotonic() - began
        after = cpu_seconds(giver.process.pid), cpu_seconds(getter.process.pid)
    finally:
        giver.stop()
        getter.stop()
    return {"seconds": seconds, "cpu_up": after[0] - before[0], "cpu_down": after[1] - before[1]}


def by_service(directory: Path, shared: Path, size: int) -> dict[str, float]:
    """Two bare transfer services."""
    giver, getter = Node(directory / "giver", "--share", str(next(shared.iterdir()))), Node(directory / "getter")
    try:
        giver.start()
        said = giver.wait_for("shared")
        port = giver.wait_for("port")["port"]
        before = cpu_seconds(giver.pid)
        getter.start("--get", said["sha1"], str(size), "benchmark.bin", f"127.0.0.1:{port}")
        began = getter.wait_for("state")["seconds"]
        before_down = cpu_seconds(getter.pid)
        seconds = getter.wait_for("state", "done", PATIENCE_S)["seconds"] - began
        after = cpu_seconds(giver.pid), cpu_seconds(getter.pid)
    finally:
        giver.kill()
        getter.kill()
    return {"seconds": seconds, "cpu_up": after[0] - before, "cpu_down": after[1] - before_down}


def nodes(options: argparse.Namespace) -> None:
    """Part (a)."""
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        base = Path(name)
        shared = base / "shared"
        shared.mkdir()
        digest = make_file(shared / "benchmark file.bin", options.mib)
        for run in range(options.runs):
            directory = base / f"run{run}"
            drive = by_daemons if options.driver == "daemons" else by_service
            figures = drive(directory, shared, options.mib * MIB)
            found = list((directory / "getter" / "incoming").iterdir())
            figures["mb_s"] = options.mib * MIB / 1e6 / figures["seconds"]
            rounded = {key: round(value, 2) for key, value in figures.items()}
            is_right = len(found) == 1 and sha1_of(found[0]) == digest
            print(
                json.dumps({"driver": options.driver, "mib": options.mib, **rounded, "sha1_right": is_right}),
                flush=True,
            )
            shutil.rmtree(directory)


# -- against nginx -----------------------------------------------------------------------------------------------------

NGINX = """
worker_processes 1; daemon off; pid {base}/nginx.pid; error_log {base}/nginx.err;
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile on; default_type application/octet-stream;
  client_body_temp_path {base}/t1; proxy_temp_path {base}/t2; fastcgi_temp_path {base}/t3;
  uwsgi_temp_path {base}/t4; scgi_temp_path {base}/t5;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def free_port() -> int:
    """A port that was free a moment ago."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def curl(url: str, size: int) -> float:
    """Bytes a second of one fetch into nowhere."""
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{speed_download}", url]
    status, got, speed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    if (status, int(got)) != ("200", size):
        raise SystemExit(f"{url}: status {status}, {got} bytes")
    return float(speed)


def nginx(options: argparse.Namespace) -> None:
    """Part (b)."""
    size = options.mib * MIB
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        base = Path(name)
        os.chmod(base, 0o755)  # nginx's worker may run as another user
        shared = base / "shared"
        shared.mkdir()
        digest = make_file(shared / "benchmark.bin", options.mib)
        port = free_port()
        (base / "nginx.conf").write_text(NGINX.format(base=base, port=port, root=shared))
        server = subprocess.Popen(["nginx", "-p", str(base), "-c", str(base / "nginx.conf")])
        if options.driver == "daemons":
            daemon = Daemon(base / "node", "--share", str(shared))
            wait_until("hashing", lambda: daemon.status().get("shared", {}).get("files") == 1, 0.2)
            address, pid, stop = daemon.port(), daemon.process.pid, daemon.stop
        else:
            node = Node(base / "node", "--share", str(shared / "benchmark.bin"))
            node.start()
            node.wait_for("shared", timeout_s=PATIENCE_S)
            address, pid, stop = f"127.0.0.1:{node.wait_for('port')['port']}", node.pid, node.kill
        sha1 = base64_sha1(digest)
        urls = {
            "nginx": (f"http://127.0.0.1:{port}/benchmark.bin", server.pid),
            "ours": (f"http://{address}/uri-res/N2R?urn:sha1:{sha1}", pid),
        }
        try:
            rows = {side: [measure(*urls[side], size)] for side in urls}  # both warm
            rows = {side: [] for side in urls}
            for number in range(options.rounds):
                for side in list(urls)[:: 1 if number % 2 else -1]:
                    rows[side].append(measure(*urls[side], size))
        finally:
            stop()
            server.terminate()
            server.wait(10)
    report(rows, options)


def base64_sha1(digest: str) -> str:
    """A SHA-1 in hex as base32."""
    import base64

    return base64.b32encode(bytes.fromhex(digest)).decode()


def measure(url: str, pid: int, size: int) -> tuple[float, float]:
    """(bytes a second, CPU seconds of the server) of one fetch."""
    before = cpu_seconds(pid)
    speed = curl(url, size)
    return speed, cpu_seconds(pid) - before


def report(rows: dict[str, list[tuple[float, float]]], options: argparse.Namespace) -> None:
    """Medians and their ratios."""
    speed = {side: statistics.median(row[0] for row in found) for side, found in rows.items()}
    # The kernel counts CPU in hundredths of a second: sums over all rounds, not medians of such small numbers.
    cpu = {side: sum(row[1] for row in found) for side, found in rows.items()}
    gib = options.mib * options.rounds / 1024
    print(
        json.dumps(
            {
                "mib": options.mib,
                "rounds": options.rounds,
                "ours_mb_s": round(speed["ours"] / 1e6),
                "nginx_mb_s": round(speed["nginx"] / 1e6),
                "speed_ratio": round(speed["ours"] / speed["nginx"], 2),
                "ours_cpu_s_per_gib": round(cpu["ours"] / gib, 3),
                "nginx_cpu_s_per_gib": round(cpu["nginx"] / gib, 3),
                "cpu_ratio": round(cpu["ours"] / cpu["nginx"], 2) if cpu["nginx"] else None,
            }
        )
    )


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("nodes", "nginx"))
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--driver", choices=("daemons", "service"), default="daemons")
    parser.add_argument(
        "--directory", type=Path, default=None, help="where to put the files; default: the temporary directory"
    )
    options = parser.parse_args()
    (nodes if options.what == "nodes" else nginx)(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
