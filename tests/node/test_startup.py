"""Before a node starts: directory, settings, ports; each mistake with its exit code and a line that names it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnutella.errors import UserError
from gnutella.network.store import DirectoryLock
from gnutella.settings import ControlSettings, NetworkSettings, Settings
from gnutella.startup import MAX_SOCKET_PATH, check, complain, load_settings, resolve_directory, runtime_settings
from gnutella.testing.machine import why_no_ipv6


def settings(listen: str = "tcp:0", console: str = "off", control: str = "") -> Settings:
    return Settings(network=NetworkSettings(listen=(listen,)), control=ControlSettings(control, console))


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 that somebody listens on."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def test_a_new_directory_is_private_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = resolve_directory("deep/er")
    assert made == tmp_path / "deep" / "er"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_without_a_name_the_directory_is_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUTELLA_DIR", str(tmp_path / "mine"))
    assert resolve_directory(None) == tmp_path / "mine"


def test_a_directory_that_cannot_be_made_is_error_73(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in ("file", "file/below"):
        with pytest.raises(UserError, match="--dir: cannot make") as caught:
            resolve_directory(str(tmp_path / place))
        assert caught.value.exit_code == os.EX_CANTCREAT


def test_settings_come_from_the_directory_or_from_the_file_that_is_named(tmp_path: Path) -> None:
    assert load_settings(tmp_path, None, {}, {}, {}).settings == Settings()
    (tmp_path / "gnutella.toml").write_text('[network]\nrole = "leaf"\n')
    assert load_settings(tmp_path, None, {}, {}, {}).settings.network.role == "leaf"
    (tmp_path / "other.toml").write_text('[network]\nrole = "ultrapeer"\n')
    named = load_settings(tmp_path, str(tmp_path / "other.toml"), {}, {}, {"network.role": "auto"})
    assert (named.configured.network.role, named.settings.network.role) == ("ultrapeer", "auto")


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--config: no file") as caught:
        load_settings(tmp_path, str(tmp_path / "none.toml"), {}, {}, {})
    assert caught.value.exit_code == os.EX_CONFIG


def test_run_time_changes_are_read_from_the_state_file(tmp_path: Path) -> None:
    assert runtime_settings(tmp_path) == {}
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as db, db:
        db.execute("CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT)")
        db.execute("INSERT INTO settings VALUES ('network.role', ?)", (json.dumps("leaf"),))
    assert runtime_settings(tmp_path) == {"network.role": "leaf"}


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"SQLite format 3\0" + bytes(200)])
def test_a_broken_state_file_holds_no_run_time_changes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.db").write_bytes(content)
    assert runtime_settings(tmp_path) == {}


def test_a_directory_in_use_is_error_73(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    with pytest.raises(UserError, match="another node runs in directory") as caught:
        check(tmp_path, settings())
    assert caught.value.exit_code == os.EX_CANTCREAT
    lock.release()
    check(tmp_path, settings())
    lock.acquire()  # the check gave it back
    lock.release()


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp:{}",
        "tcp:{}:interface=127.0.0.1",
        "tcp:port={}:interface=127.0.0.1",
        "tcp:{}:backlog=5:interface=127.0.0.1",
    ],
)
def test_a_port_in_use_is_error_69_and_names_its_option(tmp_path: Path, taken: int, endpoint: str) -> None:
    text = endpoint.format(taken)
    for option, wrong in (("--listen", settings(listen=text)), ("--console", settings(console=text))):
        with pytest.raises(UserError, match=f"{option}: port {taken} is in use") as caught:
            check(tmp_path, wrong)
        assert caught.value.exit_code == os.EX_UNAVAILABLE


@pytest.mark.skipif(bool(why_no_ipv6()), reason=why_no_ipv6())
@pytest.mark.parametrize("endpoint", ["tcp6:{}:interface=\\:\\:1", "tcp:{}:interface=\\:\\:1"])
def test_an_ipv6_port_in_use_is_seen_and_a_free_one_is_free(tmp_path: Path, endpoint: str) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is in use"):
            check(tmp_path, settings(listen=endpoint.format(port)))
    check(tmp_path, settings(listen=endpoint.format(port)))


def test_an_address_of_another_machine_is_error_69(tmp_path: Path, taken: int) -> None:
    with pytest.raises(UserError, match="give an address of this machine") as caught:
        check(tmp_path, settings(listen=f"tcp:{taken}:interface=192.0.2.1"))
    assert caught.value.exit_code == os.EX_UNAVAILABLE


def test_a_free_port_a_port_of_any_number_and_other_endpoints_pass(tmp_path: Path, taken: int) -> None:
    for listen in (
        "tcp:0",
        "tcp:0:interface=127.0.0.1",
        f"unix:{tmp_path}/peer.sock",
        f"systemd:domain=INET:index={taken}",
    ):
        check(tmp_path, settings(listen=listen))


def test_a_path_that_no_socket_can_have_is_an_error_before_the_start(tmp_path: Path) -> None:
    long = f"unix:{tmp_path}/" + "x" * MAX_SOCKET_PATH
    with pytest.raises(UserError, match="too long for a socket") as caught:
        check(tmp_path, settings(control=long))
    assert caught.value.exit_code == os.EX_CONFIG
    check(tmp_path, settings(control="off"))


def test_each_mistake_is_a_line_of_its_own_without_a_strangers_escapes() -> None:
    out = io.StringIO()
    complain(UserError("one\ntwo \x1b[2J", "fix it"), out)
    assert out.getvalue() == "gnutella: one\ngnutella: two \\x1b[2J (fix it)\n"
    complain(UserError("nobody hears"), None)
