"""The options of the daemon."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gnutella import __version__
from gnutella.settings_file import OPTION_NAMES
from gnutella.tap import Options, makeService


def parsed(*words: str) -> Options:
    options = Options()
    options.parseOptions(words)
    return options


def test_every_option_lands_in_its_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = "--listen tcp:1 --listen tcp:2 --connect a:1 --connect b:2 --share one --role leaf --profile public"
    overrides = parsed(*words.split(), "--control", "unix:/c", "--console", "off").overrides()
    assert overrides == {
        "network.listen": ("tcp:1", "tcp:2"),
        "network.connect": ("a:1", "b:2"),
        "sharing.directories": (str(tmp_path / "one"),),
        "network.role": "leaf",
        "network.profile": "public",
        "control.control": "unix:/c",
        "control.console": "off",
    }
    assert overrides.keys() == OPTION_NAMES.keys()


def test_options_that_are_not_given_override_nothing() -> None:
    assert parsed().overrides() == {}


@pytest.mark.parametrize(
    "words", [["--nonsense"], ["--role"], ["stray"], ["--listen"], ["--dir", "a", "b"], ["--anonymous=yes"]]
)
def test_a_command_line_that_cannot_be_read_is_one_line_and_code_64(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(*words)
    said = capsys.readouterr()
    assert caught.value.code == 64
    assert said.out == ""
    assert said.err.startswith("gnutella: ") and said.err.count("\n") == 1


def test_the_version_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"gnutella {__version__}, Twisted ")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--listen", "tcp:99999"], 78, "--listen: .*no port"),
        (["--listen", "bogus:1"], 78, "--listen: .*no endpoint kind"),
        (["--connect", "nowhere:x"], 78, "--connect: .*no port"),
        (["--share", "/nonexistent"], 78, "--share: .*does not exist"),
        (["--config", "none.toml"], 78, "--config: no file"),
        (["--profile", "moon"], 78, "--profile: "),
        (["--dir", "/dev/null/x"], 73, "--dir: cannot make"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_option(
    words: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        makeService(parsed("--dir", str(tmp_path), "--listen", "tcp:0", "--console", "off", *words))
    said = capsys.readouterr().err
    assert caught.value.code == code
    assert said.count("\n") == 1 and re.match(f"gnutella: .*{says}", said), said


def test_a_relay_layer_that_is_not_installed_is_one_readable_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUTELLA_ANONYMOUS_LAYER", "no_such_layer")
    with pytest.raises(SystemExit) as caught:
        makeService(parsed("--anonymous", "--dir", str(tmp_path / "node")))
    assert caught.value.code == 78
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "node" / "state.db").exists()
