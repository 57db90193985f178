"""Tokens: made once, kept private, compared whole; wrong ones are counted by address."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gnutella.control.table import Role
from gnutella.control.token import (
    FORGET_S,
    MAX_ADDRESSES,
    MAX_FAILURES,
    MAX_WAIT_S,
    WINDOW_S,
    Failures,
    ensure_tokens,
    parse_tokens,
    read_tokens,
    role_of,
    token_path,
)
from gnutella.errors import UserError


def test_the_first_start_makes_a_private_token_for_each_role(tmp_path: Path) -> None:
    tokens = ensure_tokens(str(tmp_path))
    assert set(tokens) == set(Role)
    assert len({len(token) for token in tokens.values()} | {64}) == 1
    assert len(set(tokens.values())) == 3
    assert os.stat(token_path(str(tmp_path))).st_mode & 0o777 == 0o600
    assert ensure_tokens(str(tmp_path)) == read_tokens(str(tmp_path)) == tokens


def test_the_umask_does_not_open_the_file(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        ensure_tokens(str(tmp_path))
    finally:
        os.umask(old)
    assert os.stat(token_path(str(tmp_path))).st_mode & 0o077 == 0


def test_two_programs_that_start_at_once_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ensure_tokens(str(tmp_path))
    calls: list[int] = []

    def late(directory: str) -> dict[Role, str]:
        calls.append(1)
        if len(calls) == 1:
            raise FileNotFoundError
        return read_tokens(directory)

    monkeypatch.setattr("gnutella.control.token.read_tokens", late)
    assert ensure_tokens(str(tmp_path)) == first
    assert os.listdir(tmp_path) == ["token"]


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    ensure_tokens(str(tmp_path))
    os.chmod(token_path(str(tmp_path)), 0o640)
    with pytest.raises(UserError, match="mode 640.*chmod 600") as caught:
        read_tokens(str(tmp_path))
    assert caught.value.exit_code == 78


def test_a_directory_that_is_not_there_is_one_readable_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        ensure_tokens(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("text", "part"),
    [("boss abc\n", "no role 'boss'"), ("admin short\n", "line 1"), ("# none\n\n", "no token"), ("admin\n", "line 1")],
)
def test_a_damaged_file_says_what_is_wrong(text: str, part: str) -> None:
    with pytest.raises(UserError, match=part):
        parse_tokens(text, "/x/token")


def test_a_person_may_write_the_file_with_comments() -> None:
    assert parse_tokens("# mine\nread 0123456789abcdef # for the web\n", "x") == {Role.READ: "0123456789abcdef"}


def test_the_highest_role_with_that_token_counts() -> None:
    tokens = {Role.READ: "same", Role.ADMIN: "same", Role.CONTROL: "other"}
    assert role_of(tokens, "same") is Role.ADMIN
    assert role_of(tokens, "other") is Role.CONTROL
    assert role_of(tokens, "sam") is None
    assert role_of(tokens, "ünïcode\udcff") is None


def test_an_address_that_guesses_too_often_must_wait() -> None:
    failures = Failures()
    for number in range(MAX_FAILURES):
        assert failures.wait_s("1.2.3.4", float(number)) == 0
        failures.add("1.2.3.4", float(number))
    assert failures.wait_s("1.2.3.4", MAX_FAILURES) == WINDOW_S - MAX_FAILURES
    assert failures.wait_s("5.6.7.8", MAX_FAILURES) == 0
    assert failures.wait_s("1.2.3.4", WINDOW_S + 1) == 0


def test_who_goes_on_guessing_waits_longer_each_time_up_to_an_hour() -> None:
    failures = Failures()
    now, waits = 0.0, []
    for _ in range(9):
        for _ in range(MAX_FAILURES):
            failures.add("1.2.3.4", now)
        waits.append(failures.wait_s("1.2.3.4", now))
        now += waits[-1]
    assert waits == [60, 120, 240, 480, 960, 1920, MAX_WAIT_S, MAX_WAIT_S, MAX_WAIT_S]
    now += FORGET_S
    for _ in range(MAX_FAILURES):
        failures.add("1.2.3.4", now)
    assert failures.wait_s("1.2.3.4", now) == WINDOW_S


def test_the_addresses_remembered_are_bounded() -> None:
    failures = Failures(limit=1)
    for number in range(MAX_ADDRESSES + 1):
        failures.add(f"host {number}", 0.0)
    assert failures.wait_s("host 0", 1.0) == 0
    assert failures.wait_s(f"host {MAX_ADDRESSES}", 1.0) > 0
