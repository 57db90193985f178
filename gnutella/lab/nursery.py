"""Starts servents as processes, fast: imports everything once and forks.  A program of its own, run by live.py.

    python -m gnutella.lab.nursery < orders

Each line of its input is a JSON list of options of `gnutella run`; it answers with the process id.  `["kill", id]` and
`["stop", id]` end a process (SIGKILL, SIGTERM) and answer when it is gone.  When its input ends it stops all that are left and
goes away, so nothing runs on when whoever started it dies.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import NoReturn

#: Seconds that servents have to stop by themselves.
PATIENCE_S = 6.0


def main() -> int:
    """Obey until the input ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _warm_up()
    children: set[int] = set()
    try:
        for line in sys.stdin:
            print(json.dumps(_obey(json.loads(line), children)), flush=True)
    finally:
        _stop(children)
    return 0


def _warm_up() -> None:
    """Import what a servent needs, but no reactor: each process must make its own."""
    import twisted.application.twist._twist
    import twisted.internet.epollreactor

    import gnutella.node
    import gnutella.tap

    del twisted, gnutella
    if "twisted.internet.reactor" in sys.modules:
        raise SystemExit("a module installs a reactor while it is imported")


def _obey(order: list[str | int], children: set[int]) -> int:
    if order[0] in ("kill", "stop"):
        child = int(order[1])
        os.kill(child, signal.SIGKILL if order[0] == "kill" else signal.SIGTERM)
        _gone(child, time.monotonic() + PATIENCE_S)
        children.discard(child)
        return child
    child = os.fork()
    if not child:
        _become([str(word) for word in order])
    children.add(child)
    return child


def _become(options: list[str]) -> NoReturn:
    """In the new process: run a servent as `gnutella run` does; its log is DIR/log."""
    code = 70
    try:
        directory = options[options.index("--dir") + 1]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        log = os.open(os.path.join(directory, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        from twisted.application.twist._twist import Twist

        Twist.main(["twist", "gnutella", *options])
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(code)


def _stop(children: set[int]) -> None:
    for child in children:
        _signal(child, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_S
    for child in children:
        _gone(child, deadline)


def _gone(child: int, deadline: float) -> None:
    """Wait for the end of a process; kill it at the deadline."""
    while time.monotonic() < deadline:
        if _waited(child, os.WNOHANG):
            return
        time.sleep(0.01)
    _signal(child, signal.SIGKILL)
    _waited(child, 0)


def _waited(child: int, options: int) -> bool:
    try:
        return os.waitpid(child, options)[0] == child
    except ChildProcessError:
        return True


def _signal(child: int, number: int) -> None:
    try:
        os.kill(child, number)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    sys.exit(main())
