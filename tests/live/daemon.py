"""The daemon as its users start it: `twistd -n gnutella` in a process of its own, the command line, raw sockets.

Used by test_daemon.py, test_attacks.py and kill9_daemons.py.  In plain processes without a reactor, because nothing here may
share anything with the code under test.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

#: Seconds that any single step may take on a busy machine; nothing waits this long when it works.
PATIENCE_S = 30.0
BIN = Path(sys.executable).parent
#: Lines of a log that no peer and no user may provoke.
FAULT = re.compile(r"Traceback|Unhandled|fault in|#critical|exceptions?\.|Error:")


def environment(**more: str) -> dict[str, str]:
    """The environment without settings of the person who runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GNUTELLA_")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **more}


def wait_until(claim: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Poll until `claim()` holds."""
    end = time.monotonic() + patience_s
    while not claim():
        assert time.monotonic() < end, f"waited {patience_s:g} s in vain: {what}"
        time.sleep(0.02)


def refused(*words: str, twist: str = "twistd", **environ: str) -> tuple[int, list[str]]:
    """Start a daemon that cannot start; its exit code and the lines of its stderr."""
    front = [str(BIN / twist), *(["-n", "--pidfile="] if twist == "twistd" else []), "gnutella"]
    done = subprocess.run(
        [*front, *words], env=environment(**environ), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.returncode, done.stderr.splitlines()


@contextmanager
def together(*daemons: Daemon) -> Iterator[None]:
    """Start all of them at the same time; all have ended afterwards."""
    with ExitStack() as undo:
        for daemon in daemons:
            undo.callback(daemon.__exit__)
            daemon.launch()
        for daemon in daemons:
            daemon.wait()
        yield


class Daemon:
    """One node.  Free ports on loopback and a console on TCP unless other options are given."""

    def __init__(
        self, directory: Path, *options: str, command: list[str] | None = None, environ: dict[str, str] | None = None
    ) -> None:
        self.directory = directory
        self.log = directory.with_name(directory.name + ".log")
        front = command or [str(BIN / "twistd"), "-n", "--pidfile=", "gnutella"]
        self._command = [
            *front,
            "--dir",
            str(directory),
            *("--listen", "tcp:0:interface=127.0.0.1", "--console", "tcp:0:interface=127.0.0.1"),
            *("--profile", "loopback", *options),
        ]
        self._environ = environment(**(environ or {}))
        self._process: subprocess.Popen[bytes] | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    def launch(self) -> None:
        """Start it and do not wait; the log goes on where an earlier process of this node left it."""
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start(self) -> Self:
        self.launch()
        return self.wait()

    def wait(self) -> Self:
        """Until it is ready; AssertionError with its log if it ends instead."""
        wait_until(lambda: self._process is None or self._process.poll() is not None or self.is_ready(), "it is ready")
        assert self.is_alive, self.logged()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGKILL)
            self.ended()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def is_ready(self) -> bool:
        """Whether it says so, by whatever is at its control socket."""
        try:
            return bool(self.status()["ready"])
        except (OSError, ValueError, LookupError):
            return False

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait until it ends; its exit code."""
        return self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.ended()

    def memory_kib(self) -> int:
        """Memory in use (resident)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def logged(self) -> str:
        return self.log.read_text(errors="replace")

    def faults(self) -> list[str]:
        """Lines of the log that should not be there."""
        return [line for line in self.logged().splitlines() if FAULT.search(line)]

    # -- doors ---------------------------------------------------------------------------------------------------------

    def ask(self, *lines: str) -> list[str]:
        """Reply lines of the control socket, in machine mode."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(PATIENCE_S)
            line.connect(str(self.directory / "control.sock"))
            line.sendall("".join(f"{text}\n" for text in ("mode machine", *lines)).encode())
            line.shutdown(socket.SHUT_WR)
            said = b"".join(iter(lambda: line.recv(65536), b"")).decode().splitlines()
        greeted = [number for number, text in enumerate(said) if text.startswith("250")]
        if not greeted:
            raise ConnectionRefusedError(f"no console: {said}")
        return said[greeted[0] + 1 :]

    def rows(self, line: str) -> list[dict[str, Any]]:
        """Rows of one command; AssertionError for an error."""
        said = self.ask(line)
        assert said[-1].startswith("250 "), said
        return [json.loads(text[4:]) for text in said if text.startswith("250-")]

    def status(self) -> dict[str, Any]:
        return self.rows("status")[0]

    def dropped(self) -> dict[str, int]:
        """What was refused, by reason."""
        traffic = self.status()["traffic"]
        return {key.removeprefix("dropped_"): count for key, count in traffic.items() if key.startswith("dropped_")}

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.status()["listen"][0].rpartition(":")
        return host, int(port)

    @property
    def peer(self) -> str:
        return "{}:{}".format(*self.address)

    @property
    def console(self) -> tuple[str, int]:
        name = next(name for name in self.status()["consoles"] if name.startswith("tcp:"))
        _, host, port = name.split(":")
        return host, int(port)

    def token(self, role: str = "admin") -> str:
        lines = (self.directory / "token").read_text().splitlines()
        return next(line.split()[1] for line in lines if line.startswith(role))

    def cli(self, *words: str, said: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line against it."""
        command = [sys.executable, "-m", "gnutella.cli", "--dir", str(self.directory), *words]
        return subprocess.run(
            command,
            env=self._environ,
            input=said,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def json(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        """Rows of the command line with --json."""
        done = self.cli(*words, "--json")
        assert done.returncode == code, done.stderr or done.stdout
        return [json.loads(line) for line in done.stdout.splitlines()]
