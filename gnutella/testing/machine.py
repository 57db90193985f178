"""What this machine has: real programs, IPv6, the right to mount; tests without it are skipped, and say why.

A test that is marked `realtool` and skipped fails where CI promises that all of it is there (tests/conftest.py).
"""

from __future__ import annotations

import os
import shutil
import socket

import pytest

#: The mark of tests that need root: skipped without it, and with it nothing else may skip them in CI.
needs_root = pytest.mark.realtool if os.geteuid() == 0 else pytest.mark.skip(reason="needs root")


def tool(name: str) -> str:
    """The path of a real program; without it the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def why_no_ipv6() -> str:
    """Why this system has no IPv6 loopback; "" when it has."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        return f"no IPv6 here: {error}"
    return ""


def is_running(process: int) -> bool:
    """Whether a process of that id exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
