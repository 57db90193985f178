"""The daemon as its users start, drive, signal, kill and misuse it; real processes, and the real telnet and nc."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gnutella.protocol.frames import frames
from gnutella.protocol.message import BYE, Bye
from gnutella.testing.machine import tool
from tests.live.daemon import BIN, PATIENCE_S, Daemon, environment, refused, together, wait_until
from tests.live.test_console import Person

pytestmark = pytest.mark.live

LOOPBACK = ("--listen", "tcp:0:interface=127.0.0.1", "--console", "off", "--profile", "loopback")
SIZE = 3_000_000
#: Twisted stops in order and then ends by the same signal, so that a parent can see why.
STOPPED = -signal.SIGTERM


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Daemon]]:
    """Two linked daemons; the second one shares a file."""
    base = tmp_path_factory.mktemp("pair")
    (base / "music").mkdir()
    (base / "music" / "purple rain.ogg").write_bytes(random.Random(1).randbytes(SIZE))
    (base / "music" / "purple haze.ogg").write_bytes(random.Random(2).randbytes(1000))
    one, other = Daemon(base / "one"), Daemon(base / "other", "--share", str(base / "music"))
    with together(one, other):
        wait_until(lambda: other.status()["shared"]["files"] == 2, "the files are hashed")
        one.rows(f"connect {other.peer}")
        yield one, other


# -- what a user can have got wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--nonsense"], 64, "option --nonsense not recognized"),
        (["--role", "king"], 78, '--role: network.role = \'king\': .*write "auto" or "leaf" or "ultrapeer"'),
        (["--dir", "/proc/nope"], 73, "--dir: cannot make"),
    ],
)
def test_a_mistake_is_one_readable_line_and_its_exit_code(
    tmp_path: Path, words: list[str], code: int, says: str
) -> None:
    got, lines = refused("--dir", str(tmp_path / "node"), *LOOPBACK, *words)
    assert (got, len(lines)) == (code, 1), lines
    assert re.match(f"gnutella: .*({says})", lines[0])


def test_a_settings_file_is_told_its_line_key_value_and_one_fix(tmp_path: Path) -> None:
    (tmp_path / "gnutella.toml").write_text('[network]\nrolle = "leaf"\n\n[transfers]\nmax_uploads = -4\n')
    code, lines = refused("--dir", str(tmp_path), *LOOPBACK)
    assert code == 78
    assert len(lines) == 2 and all(line.startswith("gnutella: ") for line in lines)
    assert "line 2: unknown key network.rolle = 'leaf'; did you mean \"role\"?" in lines[0]
    assert "line 5: transfers.max_uploads = -4" in lines[1]


@pytest.mark.parametrize("option", ["--listen", "--console"])
def test_a_port_in_use_is_error_69(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, lines = refused("--dir", str(tmp_path), *LOOPBACK, option, f"tcp:{port}:interface=127.0.0.1")
    if option == "--listen":  # it may repeat: the other port was free
        assert (code, lines) == (
            69,
            [f"gnutella: --listen: port {port} is in use (give another one, such as --listen tcp:0)"],
        )
    assert (code, len(lines)) == (69, 1) and f"{option}: port {port} is in use" in lines[0]


def test_what_shows_only_while_starting_is_one_line_too(tmp_path: Path) -> None:
    """Also under twist, whose log is on the same terminal."""
    words = ("--dir", str(tmp_path), "--console", "off", "--listen", "tcp:0:interface=192.0.2.1")
    for twist in ("twistd", "twist"):
        code, lines = refused(*words, twist=twist)
        assert (code, len(lines)) == (69, 1), lines
        assert "network.listen" in lines[0]


def test_a_broken_state_file_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"garbage" * 1000)
    code, lines = refused("--dir", str(tmp_path), *LOOPBACK)
    assert (code, len(lines)) == (73, 1)
    assert "state.db" in lines[0] and "move the file away" in lines[0]
    assert (tmp_path / "state.db").read_bytes() == b"garbage" * 1000


def test_a_second_node_on_the_directory_is_error_73(pair: tuple[Daemon, Daemon]) -> None:
    code, lines = refused("--dir", str(pair[0].directory), *LOOPBACK)
    assert (code, len(lines)) == (73, 1)
    assert "another node runs in directory" in lines[0]
    assert pair[0].is_ready()


# -- the command line ------------------------------------------------------------------------------------------------------

HIT = "hit name size urn tth hops vendor magnet sources spam spam_reasons likely_spam"
DOWNLOAD = "id state name size downloaded speed sources eta_s path error"
CONTRACT = {
    "status": "version servent_id role uptime_s listen links shared reachable ready",
    "peers": "address direction role vendor since_s deflate tls rx_messages tx_messages dropped",
    "share list": "path name size urn tth hits uploads",
    "share dirs": "path files bytes source",
    "share rescan": "files bytes pending",
    "doctor": "name ok detail fix",
    "config show": "key value source",
    "token": "role token path",
    "events --wait 0": "id time type data",
    "version": "version",
}


def test_each_command_gives_the_keys_of_the_contract(pair: tuple[Daemon, Daemon]) -> None:
    other = pair[1]
    for words, keys in CONTRACT.items():
        rows = other.json(*words.split())
        assert rows, words
        assert all(set(keys.split()) <= set(row) for row in rows), words


def test_searching_getting_browsing_and_tracing_from_the_command_line(pair: tuple[Daemon, Daemon]) -> None:
    one, other = pair
    hits = one.json("search", "purple", "--wait", "5", "--limit", "2")
    assert sorted(hit["name"] for hit in hits) == ["purple haze.ogg", "purple rain.ogg"]
    assert set(hits[0]) == set(HIT.split())
    assert set(hits[0]["sources"][0]) == {"address", "servent_id", "push"}
    number = next(hit["hit"] for hit in hits if hit["name"] == "purple haze.ogg")
    rows = one.json("get", str(number), "--to", "haze.ogg", "--wait", "20")
    assert set(DOWNLOAD.split()) <= set(rows[0])
    assert (rows[-1]["state"], rows[-1]["downloaded"]) == ("done", 1000)
    content = Path(rows[-1]["path"]).read_bytes()
    assert content == random.Random(2).randbytes(1000)
    assert one.json("downloads")[0]["name"] == "haze.ogg"
    assert one.json("uploads") == []
    (query, *_) = one.json("trace")
    steps = one.json("trace", query["guid"])
    assert all(set(step) == {"time", "step", "link", "reason"} for step in steps)
    assert len(one.json("browse", other.peer)) == 2
    assert one.json("cancel", "1")[0]["state"] == "cancelled"
    assert Path(rows[-1]["path"]).exists(), "a finished file stays"


def test_exit_codes_of_the_command_line(pair: tuple[Daemon, Daemon], tmp_path: Path) -> None:
    one = pair[0]
    wanted = {
        ("search", "nobody has this", "--wait", "0.1"): 1,
        ("get", "77"): 1,
        ("pause", "77"): 1,
        ("disconnect", "127.0.0.1:1"): 1,
        ("frobnicate",): 64,
        ("search",): 64,
        ("get", "what"): 64,
        ("connect", "nowhere:x"): 64,
        ("share", "add", str(tmp_path / "none")): 64,
        ("connect", "127.0.0.1:1"): 69,
        ("browse", "127.0.0.1:1"): 69,
        ("get", "urn:sha1:" + "A" * 32, "--wait", "0.1"): 75,
        ("get", "1", "--anonymous", "strict"): 78,
    }
    for words, code in wanted.items():
        done = one.cli(*words)
        assert done.returncode == code, (words, done)
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("gnutella: "), (words, done.stderr)
    nobody = Daemon(tmp_path / "nobody").cli("status")
    assert (nobody.returncode, nobody.stderr.count("\n")) == (69, 1)


def test_shares_and_settings_change_from_the_command_line(pair: tuple[Daemon, Daemon], tmp_path: Path) -> None:
    one = pair[0]
    (tmp_path / "more.txt").write_text("more")
    (row,) = one.json("share", "add", str(tmp_path))
    assert row["path"] == str(tmp_path)
    wait_until(lambda: any(row["name"] == "more.txt" for row in one.json("share", "list")), "it is hashed")
    assert one.json("share", "remove", str(tmp_path))[0]["path"] == str(tmp_path)
    assert all(row["name"] != "more.txt" for row in one.json("share", "list"))
    (row,) = one.json("config", "set", "transfers.max_uploads", "9")
    assert (row["value"], row["source"], row["applies"]) == (9, "runtime", "now")
    assert [row["key"] for row in one.json("config", "diff")] == ["transfers.max_uploads"]
    one.json("config", "set", "transfers.max_uploads", "")
    assert one.json("config", "diff") == []


def test_links_are_closed_and_opened_from_the_command_line(pair: tuple[Daemon, Daemon]) -> None:
    one, other = pair
    assert one.json("disconnect", other.peer)[0]["address"] == other.peer
    assert one.json("peers") == []
    assert one.json("connect", other.peer)[0]["direction"] == "out"
    wait_until(lambda: other.json("peers")[0]["direction"] == "in", "the other side sees it")


# -- people and scripts ----------------------------------------------------------------------------------------------------


@pytest.mark.realtool
def test_a_person_with_telnet_searches_gets_and_watches_it_finish(pair: tuple[Daemon, Daemon]) -> None:
    one = pair[0]
    host, port = one.console
    telnet = subprocess.Popen(
        [tool("telnet"), host, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    person = Person(telnet)
    person.hears("token: ")
    person.says(one.token())
    person.hears("role admin.*gnutella> ")
    person.says("search purple rain --wait 30 --limit 1")
    person.hears(r"1 +purple rain\.ogg.*gnutella> ")
    person.says("get 1 --to telnet.ogg")
    person.hears(r"telnet\.ogg.*gnutella> ")
    person.says("downloads --watch")
    person.hears(r"done .*telnet\.ogg")
    person.says("")  # an empty line ends it, should something else be on its way still
    person.hears("gnutella> ")
    person.says("quit")
    person.hears("bye")
    telnet.wait(PATIENCE_S)
    person.close()
    content = (one.directory / "incoming" / "telnet.ogg").read_bytes()
    assert hashlib.sha1(content).digest() == hashlib.sha1(random.Random(1).randbytes(SIZE)).digest()


@pytest.mark.realtool
def test_a_script_with_nc_gets_every_reply(pair: tuple[Daemon, Daemon]) -> None:
    one = pair[0]
    script = "mode machine\nsearch purple --limit 2 --wait 20\nget 1 --wait 20\nstatus\nnonsense\ndownloads\npeers"
    done = subprocess.run(
        [tool("nc"), "-N", "-U", str(one.directory / "control.sock")],
        input=script,  # and no newline at its end
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if re.match(r"\d{3}[- ]", line)]
    ends = [line for line in lines if line[3] == " "]
    assert [line[:3] for line in ends] == ["250", "250", "250", "250", "564", "250", "250"]
    rows = [json.loads(line[4:]) for line in lines if line[3] == "-"]
    assert [row["hit"] for row in rows if "hit" in row] == [1, 2]
    assert any(row.get("state") == "done" for row in rows)
    assert any(row.get("ready") is True for row in rows)


# -- signals ---------------------------------------------------------------------------------------------------------------


def linked(daemon: Daemon) -> socket.socket:
    """A link of ours, as bytes; it reads Byes."""
    line = socket.create_connection(daemon.address, PATIENCE_S)
    line.sendall(b"GNUTELLA CONNECT/0.6\r\nUser-Agent: test\r\nX-Ultrapeer: True\r\nBye-Packet: 0.1\r\n\r\n")
    head = b""
    while b"\r\n\r\n" not in head:
        head += line.recv(4096)
    assert head.startswith(b"GNUTELLA/0.6 200"), head
    line.sendall(b"GNUTELLA/0.6 200 OK\r\n\r\n")
    wait_until(lambda: daemon.status()["links"]["peers"] > 0, "the link is open")
    return line


def test_sigterm_says_bye_and_ends_in_time(tmp_path: Path) -> None:
    with Daemon(tmp_path / "node") as node, linked(node) as line:
        begun = time.monotonic()
        node.signal(signal.SIGTERM)
        stream = b"".join(iter(lambda: line.recv(65536), b""))
        line.close()
        assert node.ended() == STOPPED
        assert time.monotonic() - begun < 5.0  # the contract's own figure
        byes = [Bye.decode(frame.payload).code for frame in frames(stream) if frame.kind == BYE]
        assert byes == [200]
        assert node.faults() == []
        assert not (node.directory / "control.sock").exists()


def test_sigterm_ends_in_time_whatever_peers_and_consoles_do(tmp_path: Path) -> None:
    """A deaf peer, half-open handshakes, a stuck HTTP request and consoles with running commands."""
    with Daemon(tmp_path / "node") as node:
        lines = [linked(node)]
        for said in (b"", b"GNUTELLA CONN", b"GET /uri-res/N2R?", b"\x16\x03\x01"):
            lines.append(socket.create_connection(node.address, PATIENCE_S))
            lines[-1].sendall(said)
        console = socket.socket(socket.AF_UNIX)
        console.connect(str(node.directory / "control.sock"))
        console.sendall(b"mode machine\nsearch something --wait 1000\n")
        wait_until(
            lambda: any(event["type"] == "search_started" for event in node.rows("events --since 0")), "it began"
        )
        begun = time.monotonic()
        assert node.stop() == STOPPED
        assert time.monotonic() - begun < 5.0
        assert node.faults() == []
        for line in (*lines, console):
            line.close()


def test_sighup_reads_the_settings_again_and_opens_the_log_anew(tmp_path: Path) -> None:
    directory = tmp_path / "node"
    directory.mkdir()
    log = tmp_path / "gnutella.log"
    command = [str(BIN / "twistd"), "-n", "--pidfile=", f"--logfile={log}", "gnutella"]
    with Daemon(directory, command=command) as node:
        (directory / "gnutella.toml").write_text("[transfers]\nmax_uploads = 7\n")
        log.rename(tmp_path / "old.log")
        node.signal(signal.SIGHUP)
        wait_until(lambda: node.status()["limits"]["max_uploads"] == 7, "the settings are read again")
        assert "settings read again; changed: transfers.max_uploads" in log.read_text()
        (directory / "gnutella.toml").write_text("[transfers]\nmax_uploads = many\n")
        node.signal(signal.SIGHUP)
        wait_until(lambda: "the settings stay as they were" in log.read_text(), "the mistake is told")
        assert node.status()["limits"]["max_uploads"] == 7
        assert node.stop() == STOPPED
        assert "Traceback" not in log.read_text()


def test_kill_9_and_a_restart_on_the_same_directory(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.ogg").write_bytes(b"la" * 5000)
    node = Daemon(tmp_path / "node")
    with node:
        servent_id = node.status()["servent_id"]
        node.rows(f"share add {tmp_path / 'music'}")
        node.rows("get urn:sha1:" + "A" * 32)
        node.rows("config set network.max_links 9")
        wait_until(lambda: node.status()["shared"]["files"] == 1, "the file is hashed")
        node.signal(signal.SIGKILL)
        assert node.ended() == -signal.SIGKILL
        assert (node.directory / "control.sock").exists() and (node.directory / "lock").exists()
    with node:
        status = node.status()
        assert (status["servent_id"], status["limits"]["max_links"]) == (servent_id, 9)
        assert [row["state"] for row in node.rows("downloads")] == ["locating"]
        wait_until(lambda: node.status()["shared"]["files"] == 1, "the share is known")
        assert node.stop() == STOPPED
        assert node.faults() == []


# -- other ways to run it --------------------------------------------------------------------------------------------------


def test_daemonised_it_leaves_a_pid_file_a_log_and_a_stop_that_works(tmp_path: Path) -> None:
    directory, pidfile, log = tmp_path / "node", tmp_path / "pid", tmp_path / "log"
    command = [str(BIN / "twistd"), f"--pidfile={pidfile}", f"--logfile={log}", "gnutella", "--dir", str(directory)]
    done = subprocess.run(
        [*command, *LOOPBACK], env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    node = Daemon(directory)
    try:
        wait_until(node.is_ready, "it is ready")
        pid = int(pidfile.read_text())
        assert node.cli("shutdown").returncode == 0
        wait_until(lambda: not pidfile.exists(), "it ends")
    finally:
        if pidfile.exists():
            os.kill(pid, signal.SIGKILL)
    assert "listens on 127.0.0.1:" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_gnutella_run_starts_the_same_daemon_with_environment_and_links(
    pair: tuple[Daemon, Daemon], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "gnutella.cli", "run"]
    environ = {"GNUTELLA_TRANSFERS_MAX_UPLOADS": "4"}
    with Daemon(tmp_path / "node", "--connect", pair[1].peer, command=command, environ=environ) as node:
        status: Any = node.status()
        assert (status["profile"], status["limits"]["max_uploads"]) == ("loopback", 4)
        wait_until(lambda: [row["address"] for row in node.rows("peers")] == [pair[1].peer], "the link is open")
        assert node.stop() == STOPPED
        assert node.faults() == []
