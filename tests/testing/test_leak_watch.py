"""The leak check itself: each kind of left-over fails the test that left it, and the next test starts clean."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HEAD = """
from gnutella.testing.aio import async_test, turns
from twisted.internet import defer, error, protocol, task
from twisted.logger import Logger
"""
#: Body of a coroutine test, and what the complaint about it must say.
LEAKS = {
    "logged": (
        """
        try:
            raise KeyError("lost")
        except KeyError:
            Logger().failure("it broke")
        """,
        "logged failure: it broke",
    ),
    "deferred": ('defer.fail(RuntimeError("nobody listens"))', "nobody listens"),
    "call": ("reactor.callLater(1, print)", "delayed call"),
    "port": ('reactor.listenTCP(0, protocol.Factory(), interface="127.0.0.1")', "open socket, port or pipe"),
    "child": ('reactor.spawnProcess(protocol.ProcessProtocol(), "/bin/sleep", ["sleep", "5"])', "child process"),
}


def run_pytest(directory: Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    """pytest over one file, with this project's conftest, in a process of its own (the reactor cannot be nested)."""
    (directory / "conftest.py").write_text("from tests.conftest import *\n")
    (directory / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\nmarkers = realtool: as in setup.cfg\n")
    (directory / "test_it.py").write_text(HEAD + body)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(directory)]
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)


def as_test(name: str, body: str) -> str:
    return (
        f"\n@async_test(timeout_s=5)\nasync def test_{name}(reactor):\n"
        + textwrap.indent(textwrap.dedent(body).strip(), "    ")
        + "\n    await turns(reactor)\n"
    )


def test_each_kind_of_leak_fails_its_own_test_and_no_other(tmp_path: Path) -> None:
    body = "".join(as_test(name, leak) + as_test(f"{name}_next", "pass") for name, (leak, _) in LEAKS.items())
    said = run_pytest(tmp_path, body, "--reactor=default").stdout
    assert f"{2 * len(LEAKS)} passed, {len(LEAKS)} errors" in said
    for name, (_, complaint) in LEAKS.items():
        assert f"ERROR at teardown of test_{name} " in said
        assert f"ERROR at teardown of test_{name}_next " not in said
        assert complaint in said


def test_what_a_test_flushes_is_not_held_against_it(tmp_path: Path) -> None:
    body = """
async def provoke(reactor):
    defer.fail(RuntimeError("on purpose"))
    await turns(reactor)

@async_test()
async def test_flushed(reactor, flush_failures):
    await provoke(reactor)
    assert len(flush_failures(RuntimeError)) == 1

@async_test()
async def test_another_kind_is_kept(reactor, flush_failures):
    await provoke(reactor)
    assert flush_failures(KeyError) == []
"""
    said = run_pytest(tmp_path, body, "--reactor=default").stdout
    assert "2 passed, 1 error" in said
    assert "ERROR at teardown of test_another_kind_is_kept" in said


def test_a_test_that_hangs_fails_in_its_time_and_the_next_one_runs(tmp_path: Path) -> None:
    body = """
@async_test(timeout_s=0.05)
async def test_hangs(reactor):
    await defer.Deferred()

@async_test(timeout_s=0.05)
async def test_swallows_its_cancellation(reactor):
    try:
        await defer.Deferred()
    except defer.CancelledError:
        pass

@async_test()
async def test_next(reactor):
    await turns(reactor, 3)

@async_test()
async def test_own_failure_is_kept(reactor):
    assert 1 == 2
"""
    said = run_pytest(tmp_path, body, "--reactor=default").stdout
    assert "3 failed, 1 passed" in said
    assert "test_hangs did not finish in 0.05 s" in said
    assert "test_swallows_its_cancellation ended only when it was cancelled" in said
    assert "assert 1 == 2" in said


def test_without_the_plugin_plain_tests_run_and_reactor_tests_say_why_not(tmp_path: Path) -> None:
    body = """
def test_plain():
    assert True

def test_wants_a_reactor(reactor):
    assert False, "not reached"
"""
    said = run_pytest(tmp_path, body, "-p", "no:twisted").stdout
    assert "1 passed, 1 error" in said
    assert "run it without -p no:twisted" in said


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 failed, 1 skipped"), ("", "2 skipped")])
def test_what_needs_a_real_program_is_not_skipped_in_ci(
    tmp_path: Path, ci: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    body = """
import pytest

@pytest.mark.realtool
def test_with_telnet():
    pytest.skip("telnet is not installed")

def test_plain():
    pytest.skip("not here")
"""
    said = run_pytest(tmp_path, body, "-p", "no:twisted").stdout
    assert outcome in said
    assert ("must not be skipped in CI" in said) == bool(ci)


@pytest.mark.parametrize("count", [0, 3])
def test_plain_tests_are_not_watched(count: int, leak_watch: object) -> None:
    assert leak_watch is None, count
