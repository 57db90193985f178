"""The doctor's single checks: what is fine, what is wrong, and what to do."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

import pytest

from gnutella.control import doctor
from gnutella.control.token import ensure_tokens, token_path
from gnutella.settings_file import load


def test_a_good_directory_passes_and_a_missing_one_says_what_to_do(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert doctor.check_directory(str(tmp_path))["ok"] is True
    missing = doctor.check_directory(str(tmp_path / "none"))
    assert (missing["ok"], missing["fix"]) == (False, f"gnutella init --dir {tmp_path / 'none'}")
    tmp_path.chmod(0o777)
    assert "written by others" in str(doctor.check_directory(str(tmp_path))["detail"])


def test_the_token_is_fine_missing_or_open(tmp_path: Path) -> None:
    assert doctor.check_token(str(tmp_path))["ok"] is None
    ensure_tokens(str(tmp_path))
    assert doctor.check_token(str(tmp_path))["ok"] is True
    os.chmod(token_path(str(tmp_path)), 0o644)
    opened = doctor.check_token(str(tmp_path))
    assert (opened["ok"], opened["fix"]) == (False, f"chmod 600 {token_path(str(tmp_path))}")


def test_a_clock_from_before_this_program_is_wrong() -> None:
    assert doctor.check_clock(0.0)["ok"] is False
    assert doctor.check_clock(doctor.EARLIEST_TIME + 1)["ok"] is True


def test_little_space_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_disk(str(tmp_path))["name"] == "disk"
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 1 << 80)
    assert doctor.check_disk(str(tmp_path))["ok"] is False


def test_too_few_open_files_name_the_number_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100, 100))
    found = doctor.check_files(load(None).settings)
    assert found["ok"] is False
    assert "ulimit -n" in str(found["fix"])


def test_a_port_is_free_or_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        assert doctor.check_port(endpoint)["ok"] is False
    assert doctor.check_port(endpoint)["ok"] is True
    assert doctor.check_port("tcp:0")["ok"] is None


def test_without_a_daemon_everything_else_is_still_checked(tmp_path: Path) -> None:
    rows = doctor.offline_checks(str(tmp_path), load(None).settings)
    assert {str(row["name"]) for row in rows} >= {
        "daemon",
        "directory",
        "disk",
        "token",
        "clock",
        "open files",
        "tiger tree",
        "port",
    }
    assert all(set(row) == {"name", "ok", "detail", "fix"} for row in rows)


def test_encrypted_links_may_be_switched_off() -> None:
    assert doctor.check_tls(load(None).settings)["ok"] is True
    assert doctor.check_tls(load(None, {"GNUTELLA_NETWORK_TLS": "no"}).settings)["ok"] is None
