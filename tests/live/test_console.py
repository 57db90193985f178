"""The console over real sockets, driven by real programs: nc, telnet, and our own command line, against a node in memory."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from gnutella.control.client import NodeClient
from gnutella.control.doors import ConsoleDoors, clear_stale_socket
from gnutella.errors import UserError
from gnutella.settings import ControlSettings
from gnutella.testing.aio import async_test
from gnutella.testing.fake_node import FakeNode
from gnutella.testing.machine import tool

pytestmark = pytest.mark.live

#: Seconds that any single step may take on a busy machine; nothing waits this long when it works.
PATIENCE_S = 30


class Daemon:
    """A fake node in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = str(directory / "control.sock")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gnutella.testing.fake_node", str(directory)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        doors = json.loads(self.process.stdout.readline())
        self.port = int(doors[1].rpartition(":")[2])

    def token(self, role: str = "admin") -> str:
        lines = (self.directory / "token").read_text().splitlines()
        return next(line.split()[1] for line in lines if line.startswith(role))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def cli(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "GNUTELLA_DIR": str(self.directory), **more}
        command = [sys.executable, "-m", "gnutella.cli", *words]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("node")) as running:
        yield running


def nc(*words: str, said: str) -> str:
    done = subprocess.run(
        [tool("nc"), "-N", *words], input=said, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return done.stdout


@pytest.mark.realtool
def test_nc_on_the_unix_socket_gets_every_reply_although_it_stops_writing_at_once(daemon: Daemon) -> None:
    script = "mode machine\nsearch alice --wait 1\nstatus\nsearch nothing --wait 0.2\nget 1\nnonsense\npeers"
    lines = nc("-U", daemon.path, said=script).splitlines()[2:]
    codes = [line[:4] for line in lines]
    assert codes == ["250 ", "250-", "250-", "250 ", "250-", "250 ", "551 ", "551 ", "564 ", "250 "]
    assert json.loads(lines[1][4:])["name"] == "alice wonderland.txt"
    assert json.loads(lines[4][4:])["role"] == "leaf"


@pytest.mark.realtool
def test_nc_in_human_mode_shows_tables_and_no_escape_of_a_stranger(daemon: Daemon) -> None:
    shown = nc("-U", daemon.path, said="search evil --wait 0.3\nget 1\nevents\n")
    assert "evil\\x1b[2J\\x9b31m\\u202egpj.exe" in shown
    assert all(char.isprintable() or char == "\n" for char in shown)


@pytest.mark.realtool
def test_nc_on_tcp_names_the_token_first_and_has_its_role(daemon: Daemon) -> None:
    script = f"{daemon.token('read')}\nmode machine\npeers\nshutdown\n"
    lines = nc("127.0.0.1", str(daemon.port), said=script).splitlines()
    assert lines[-2].startswith('250 {"rows":0}')
    assert lines[-1].startswith("577 shutdown needs the role admin")


@pytest.mark.realtool
def test_three_wrong_tokens_close_the_line(daemon: Daemon) -> None:
    shown = nc("127.0.0.1", str(daemon.port), said="a\nb\nc\nstatus\n")
    assert shown.count("wrong token") == 3
    assert "goodbye" in shown
    assert "listening" not in shown


@pytest.mark.realtool
def test_a_person_with_telnet_logs_in_searches_interrupts_and_leaves(daemon: Daemon) -> None:
    telnet = subprocess.Popen(
        [tool("telnet"), "127.0.0.1", str(daemon.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    person = Person(telnet)
    person.hears("token: ")
    person.says(daemon.token())
    person.hears("Welcome; role admin.*gnutella> ")
    person.says("st")
    person.hears("servent id .*gnutella> ")
    person.says("search alice --wait 500")
    person.hears("alice wonderland.txt")
    person.says("")
    person.hears("gnutella> ")
    person.says("get 1 --to mine.txt")
    person.hears("queued +mine.txt.*gnutella> ")
    person.says("quit")
    person.hears("bye")
    assert telnet.wait(PATIENCE_S) is not None
    person.close()


class Person:
    """Someone at a program's terminal: says lines, reads until a pattern comes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self._heard = ""

    def says(self, line: str) -> None:
        self._in.write(line.encode() + b"\n")
        self._in.flush()

    def hears(self, pattern: str) -> None:
        while (found := re.search(pattern, self._heard, re.DOTALL)) is None:
            is_there, _, _ = select.select([self._out], [], [], PATIENCE_S)
            data = os.read(self._out.fileno(), 4096) if is_there else b""
            assert data, f"{pattern!r} never came, but: {self._heard}"
            self._heard += data.decode()
        self._heard = self._heard[found.end() :]

    def close(self) -> None:
        for file in (self._in, self._out):
            try:
                file.close()
            except BrokenPipeError:
                pass


def test_telnet_negotiation_is_refused_and_does_not_disturb(daemon: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port), PATIENCE_S) as line:
        line.sendall(b"\xff\xfd\x03\xff\xfb\x18" + daemon.token().encode() + b"\r\0quit\r\n")
        said = b"".join(iter(lambda: line.recv(4096), b""))
    assert b"\xff\xfc\x03\xff\xfe\x18" in said
    assert b"Welcome" in said


def test_the_socket_and_the_token_are_private(daemon: Daemon) -> None:
    assert stat.S_IMODE(os.stat(daemon.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(daemon.directory / "token").st_mode) == 0o600


def test_the_command_line_speaks_json_a_line_with_exit_codes(daemon: Daemon) -> None:
    found = daemon.cli("search", "alice", "--wait", "0.5", "--json")
    assert found.returncode == 0
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert [(row["hit"], row["name"], row["size"]) for row in rows] == [
        (1, "alice wonderland.txt", 1500000),
        (2, "アリス.txt", 5000000),
    ]
    got = daemon.cli("get", "2", "--wait", "20", "--json")
    states = [json.loads(line) for line in got.stdout.splitlines()]
    assert (got.returncode, states[-1]["state"], states[-1]["downloaded"]) == (0, "done", 5000000)
    nothing = daemon.cli("search", "nothing", "--wait", "0.1", "--json")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    daemon.cli("search", "stuck", "--wait", "0.3")
    stuck = daemon.cli("get", "1", "--wait", "0.3")
    assert stuck.returncode == 75
    assert stuck.stderr.count("\n") == 1
    refused = daemon.cli("get", "1", "--anonymous", "strict")
    assert (refused.returncode, refused.stdout) == (78, "")
    assert "relay layer is off" in refused.stderr


def test_the_command_line_shows_tables_without_colours_in_a_pipe(daemon: Daemon) -> None:
    shown = daemon.cli("doctor")
    assert shown.returncode in (0, 1)
    assert "directory" in [line.split()[1] for line in shown.stdout.splitlines() if not line.startswith(" ")]
    assert "\x1b" not in shown.stdout
    assert daemon.cli("status").stdout.startswith("node ")


def _heed_ctrl_c() -> None:
    """Shells have what they start in the background ignore it, and so would all that a test suite started there starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_the_command_line_quietly_and_the_search_in_the_node(daemon: Daemon) -> None:
    environ = {**os.environ, "GNUTELLA_DIR": str(daemon.directory)}
    command = [sys.executable, "-m", "gnutella.cli", "search", "alice", "--wait", "600", "--json"]
    with subprocess.Popen(
        command,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_ctrl_c,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            assert "alice" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 130
            assert process.stderr.read() == ""
        finally:  # else leaving the block waits for ten minutes
            process.kill()


def test_a_closed_pipe_is_no_traceback(daemon: Daemon) -> None:
    environ = {**os.environ, "GNUTELLA_DIR": str(daemon.directory)}
    command = [sys.executable, "-m", "gnutella.cli", "events", "--since", "0", "--json"]
    daemon.cli("search", "alice", "--wait", "0")
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        for _ in range(3):
            daemon.cli("search", "alice", "--wait", "0")
        process.wait(PATIENCE_S)
        assert process.stderr.read() == ""


def test_the_console_reads_a_script_from_a_pipe(daemon: Daemon) -> None:
    environ = {**os.environ, "GNUTELLA_DIR": str(daemon.directory)}
    command = [sys.executable, "-m", "gnutella.cli", "console"]
    script = "search alice --wait 0.3\nshare list\n"
    done = subprocess.run(
        command, env=environ, input=script, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0
    assert "alice wonderland.txt" in done.stdout
    assert "alice.txt" in done.stdout


class Terminal:
    """Our command line on a real terminal of 100 columns."""

    def __init__(self, daemon: Daemon, *words: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 100))
        environ = {**os.environ, "GNUTELLA_DIR": str(daemon.directory), "TERM": "xterm"}
        environ.pop("NO_COLOR", None)
        environ.pop("COLUMNS", None)
        command = [sys.executable, "-m", "gnutella.cli", *words]
        self.process = subprocess.Popen(
            command, env=environ, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.shown = ""

    def says(self, text: str) -> None:
        os.write(self._master, text.encode())

    def shows(self, pattern: str) -> str:
        """Read until `pattern` is on the screen; what was shown up to there."""
        while (found := re.search(pattern, self.shown, re.DOTALL)) is None:
            try:
                data = os.read(self._master, 4096)
            except OSError:  # the last program on the terminal is gone
                data = b""
            assert data, f"{pattern!r} was never shown, but: {self.shown}"
            self.shown += data.decode("utf-8", "replace")
        before, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return before

    def ends(self) -> int:
        code = self.process.wait(PATIENCE_S)
        os.close(self._master)
        return code


def test_on_a_terminal_the_console_prompts_draws_interrupts_and_leaves(daemon: Daemon) -> None:
    terminal = Terminal(daemon, "console")
    terminal.shows("gnutella> ")
    terminal.says("sta\tshare list\x15st\n")
    terminal.shows("servent id.*gnutella> ")
    terminal.says("search alice --wait 500\n")
    terminal.shows("alice wonderland.txt")
    os.kill(terminal.process.pid, signal.SIGINT)
    terminal.shows("gnutella> ")
    terminal.says("nonsense\n")
    assert "error: no command 'nonsense'" in terminal.shows("gnutella> ")
    terminal.says("get 1 --to bars.txt --wait 60\n")
    bars = terminal.shows("done .*gnutella> ")
    assert "\x1b[1F" in bars
    assert "█" in bars
    terminal.says("\x04")
    assert terminal.ends() == 0


def test_a_terminal_gets_colours_and_a_stranger_none_of_them(daemon: Daemon) -> None:
    terminal = Terminal(daemon, "search", "evil", "--wait", "0.3")
    shown = terminal.shows(r"evil.*\n")
    assert "\x1b[2m" in shown
    assert "\x1b[2J" not in shown
    assert "evil\\x1b[2J" in shown
    assert terminal.ends() == 0


def test_a_run_time_change_is_made_shown_and_taken_back(daemon: Daemon) -> None:
    assert daemon.cli("config", "set", "transfers.max_uploads", "3").returncode == 0
    (row,) = map(json.loads, daemon.cli("config", "diff", "--json").stdout.splitlines())
    assert row == {"key": "transfers.max_uploads", "value": 3, "configured": 20}
    assert daemon.cli("config", "set", "transfers.max_uploads", "").returncode == 0
    assert daemon.cli("config", "diff", "--json").stdout == ""
    assert daemon.cli("config", "set", "transfers.max_uploads", "-5").returncode == 64


def test_the_client_can_interrupt_and_go_on(daemon: Daemon) -> None:
    with NodeClient(daemon.path) as node:
        rows = node.rows("search alice --wait 500")
        assert next(rows)["hit"] == 1
        node.interrupt()
        assert [row["hit"] for row in rows] in ([], [2])
        assert len(str(node.end["guid"])) == 32
        with pytest.raises(UserError) as caught:
            list(node.rows("pause 999"))
        assert caught.value.exit_code == 1
        (status,) = node.rows("status")
        assert status["role"] == "leaf"


def test_a_daemon_that_stops_ends_its_consoles_and_its_socket_is_cleared_later(tmp_path: Path) -> None:
    with Daemon(tmp_path) as mine:
        with pytest.raises(UserError, match="another node answers"):
            clear_stale_socket(mine.path)
        with NodeClient(mine.path) as node:
            mine.process.kill()
            mine.process.wait(PATIENCE_S)
            with pytest.raises(UserError) as caught:
                list(node.rows("status"))
            assert caught.value.exit_code == 69
        assert os.path.exists(mine.path)
        assert mine.cli("status").returncode == 69
    with Daemon(tmp_path) as again:
        assert again.cli("shutdown", "--json").stdout == '{"stopping": true}\n'
        again.process.wait(PATIENCE_S)
        assert again.process.returncode == 0


@async_test()
async def test_a_socket_without_a_mode_is_private_and_not_the_world_readable_one_of_twisted(
    reactor: Any, tmp_path: Path
) -> None:
    node = FakeNode(str(tmp_path), reactor)
    settings = ControlSettings(control=f"unix:{tmp_path}/mine.sock", console=f"unix:{tmp_path}/other.sock:mode=660")
    doors = ConsoleDoors(reactor, node, settings, str(tmp_path))
    assert await doors.open() == [f"unix:{tmp_path}/mine.sock", f"unix:{tmp_path}/other.sock"]
    assert stat.S_IMODE(os.stat(tmp_path / "mine.sock").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(tmp_path / "other.sock").st_mode) == 0o660
    await doors.close()
    assert not (tmp_path / "mine.sock").exists()


@async_test()
async def test_a_door_that_cannot_open_is_one_readable_error_and_leaves_none_open(reactor: Any, tmp_path: Path) -> None:
    node = FakeNode(str(tmp_path), reactor)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(UserError, match="cannot listen on tcp:") as caught:
            await ConsoleDoors(reactor, node, ControlSettings(console=endpoint), str(tmp_path)).open()
    assert caught.value.exit_code == 69
    assert not (tmp_path / "control.sock").exists()
    with pytest.raises(UserError) as caught:
        await ConsoleDoors(reactor, node, ControlSettings(control="carrier-pigeon:1"), str(tmp_path)).open()
    assert caught.value.exit_code == 78


@async_test()
async def test_both_doors_may_be_shut(reactor: Any, tmp_path: Path) -> None:
    doors = ConsoleDoors(reactor, FakeNode(str(tmp_path), reactor), ControlSettings("off", "off"), str(tmp_path))
    assert await doors.open() == []
    await doors.close()


def test_something_else_at_the_sockets_place_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "control.sock").write_text("mine")
    with pytest.raises(UserError, match="in the way"):
        clear_stale_socket(str(tmp_path / "control.sock"))
    assert (tmp_path / "control.sock").read_text() == "mine"


def test_killed_readers_do_not_fill_the_house(daemon: Daemon) -> None:
    """A half-closed session and a dead one look the same to the reading side; the node must tell them apart."""
    lines = []
    for _ in range(64):
        line = socket.socket(socket.AF_UNIX)
        line.connect(daemon.path)
        line.sendall(b"mode machine\nevents --follow\n")
        lines.append(line)
    for line in lines:
        line.close()
    for _ in range(PATIENCE_S * 10):
        if daemon.cli("peers").returncode == 0:
            break
        time.sleep(0.1)
    assert daemon.cli("peers").returncode == 0
