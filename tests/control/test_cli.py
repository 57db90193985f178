"""The command line without a daemon: parsing, local commands, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gnutella import __version__
from gnutella.cli import main, order_of, parser_of
from gnutella.control import shell
from gnutella.control.commands import CLI_COMMANDS, by_name
from gnutella.control.grammar import line_of, parse, split
from gnutella.control.order import Order


def read(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    captured = capsys.readouterr()
    return captured.out, captured.err


def ordered(name: str, *words: str) -> Order:
    import argparse

    order = order_of(by_name(name), list(words), argparse.Namespace(dir=None, json=False))
    assert order is not None
    return order


def test_options_may_stand_anywhere_also_before_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = ordered("search.start", "alice", "--wait", "2", "in", "--json", "--dir", str(tmp_path))
    assert order.invocation.values["words"] == ("alice", "in")
    assert (order.as_json, order.directory) == (True, str(tmp_path))
    assert main(["--dir", str(tmp_path), "--json", "token"]) == 0
    assert json.loads(read(capsys)[0])["role"] == "admin"


def test_what_the_command_line_understood_reaches_the_console_unchanged() -> None:
    order = ordered("search.start", "two words", "--kind=audio,video", 'quo"te', "--", "--wait")
    line = line_of(order.invocation.command, order.invocation.values)
    assert parse(split(line), CLI_COMMANDS).values == order.invocation.values


def test_paths_become_absolute_here_since_the_daemon_lives_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ordered("share.add", "music").invocation.values["directory"] == str(tmp_path / "music")
    assert ordered("share.remove", "2").invocation.values["directory"] == "2"
    (tmp_path / "2").mkdir()
    assert ordered("share.remove", "2").invocation.values["directory"] == str(tmp_path / "2")


def test_trace_alone_lists_queries() -> None:
    assert ordered("query.trace").invocation.command.name == "query.list"
    assert ordered("query.trace", "1").invocation.command.name == "query.trace"


@pytest.mark.parametrize(
    # The daemon and the lab read their own options.
    "command",
    [command for command in CLI_COMMANDS if command.name not in ("node.run", "lab.run")],
    ids=lambda c: c.name,
)
def test_every_command_has_a_parser_and_help(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    from gnutella.control.table import Command

    assert isinstance(command, Command)
    assert parser_of(command).prog == f"gnutella {command.words}"
    assert main([*command.spoken[0], "--help"]) == 0
    assert f"usage: {command.usage}" in " ".join(read(capsys)[0].split())


@pytest.mark.parametrize(
    ("argv", "code", "part"),
    [
        (["serach", "x"], 64, 'did you mean "search"?'),
        (["search"], 64, "WORDS"),
        (["search", "x", "--wait"], 64, "--wait"),
        (["search", "x", "--wait", "soon"], 64, "'soon'"),
        (["peers", "--nonsense"], 64, "--nonsense"),
        (["--nonsense", "peers"], 64, "--nonsense"),
        (["connect", "1.2.3.4:99999"], 64, "'99999'"),
        (["config"], 64, "config show"),
        (["status"], 69, "twistd -n gnutella --dir"),
        (["search", "x"], 69, "no daemon is reachable"),
        (["config", "check", "/no/such/file"], 78, "/no/such/file"),
        (["config", "check"], 78, "gnutella init"),
        (["help", "nix"], 64, "'nix'"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    argv: list[str],
    code: int,
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GNUTELLA_DIR", str(tmp_path))
    assert main(argv) == code
    out, err = read(capsys)
    assert out == ""
    assert err.startswith("gnutella: ")
    assert err.count("\n") == 1
    assert part in err


def test_without_a_command_it_shows_them_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 64
    assert "search WORDS" in read(capsys)[1]
    assert main(["--help"]) == 0
    assert "search WORDS" in read(capsys)[0]
    assert main(["help", "share"]) == 0
    assert "share add" in read(capsys)[0]


def test_version_in_three_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert read(capsys)[0] == f"{__version__}\n"
    assert main(["version", "--json"]) == 0
    assert json.loads(read(capsys)[0])["version"] == __version__


def test_init_writes_what_is_missing_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "new" / "node"
    assert main(["init", "--dir", str(directory), "--json"]) == 0
    rows = [json.loads(line) for line in read(capsys)[0].splitlines()]
    assert [(row["kind"], row["created"]) for row in rows] == [("settings", True), ("token", True)]
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "token").stat().st_mode & 0o777 == 0o600
    (directory / "gnutella.toml").write_text("# mine\n")
    assert main(["init", "--dir", str(directory)]) == 0
    assert "no" in read(capsys)[0]
    assert (directory / "gnutella.toml").read_text() == "# mine\n"
    assert main(["config", "check", "--dir", str(directory)]) == 0


def test_init_where_nothing_can_be_made_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["init", "--dir", str(tmp_path / "file" / "node")]) == 73
    assert read(capsys)[1].count("\n") == 1


def test_token_is_printed_alone_and_stays_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--dir", str(tmp_path), "--role", "read"]) == 0
    token = read(capsys)[0].strip()
    assert f"read {token}\n" in (tmp_path / "token").read_text()
    main(["token", "--dir", str(tmp_path), "--role", "read"])
    assert read(capsys)[0].strip() == token
    assert main(["token", "--dir", str(tmp_path / "none")]) == 78


def test_every_mistake_in_a_settings_file_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gnutella.toml").write_text("[network]\nrole = 'hub'\nmax_linx = 3\n")
    assert main(["config", "check", "--dir", str(tmp_path)]) == 78
    lines = read(capsys)[1].splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"gnutella: {tmp_path}/gnutella.toml line ") for line in lines)


def test_the_doctor_works_without_a_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "gnutella.toml").write_text("[network]\nlisten = ['tcp:0']\n")
    code = main(["doctor", "--json", "--dir", str(tmp_path)])
    rows = {row["name"]: row for row in map(json.loads, read(capsys)[0].splitlines())}
    assert rows["daemon"]["ok"] is None
    assert rows["directory"]["ok"] is True
    assert code == (1 if any(row["ok"] is False for row in rows.values()) else 0)


def test_run_becomes_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, argv: became.append(argv))
    main(["--dir", "/n", "run", "--listen", "tcp:0", "--help"])
    assert became[0][1:] == [
        *("-m", "twisted", "--log-format", "text", "gnutella"),
        *("--dir", "/n", "--listen", "tcp:0", "--help"),
    ]


def test_ctrl_c_and_a_closed_pipe_are_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(order: Order) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("gnutella.control.remote.run_remote", interrupted)
    assert main(["status"]) == 130
    assert read(capsys) == ("", "")


@pytest.mark.parametrize(
    ("line", "text", "found"),
    [
        ("sea", "sea", ["search "]),
        ("share a", "a", ["add "]),
        ("share ", "", ["add ", "dirs ", "list ", "remove ", "rescan "]),
        ("search alice --w", "--w", ["--wait "]),
        ("events --type hit", "hit", ["hit_received"]),
        ("nonsense ", "", []),
    ],
)
def test_tab_completes_verbs_options_and_types(line: str, text: str, found: list[str]) -> None:
    assert shell.complete(line, text) == found


def test_the_lab_gets_its_words_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "--help"]) == 0
    assert "gnutella lab FILE.toml [--live]" in read(capsys)[0]
    assert main(["lab", "no-such-file.toml"]) == 78
    assert "no-such-file.toml" in read(capsys)[1]
