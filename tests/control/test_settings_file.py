"""Settings from four layers, and errors that name key, line, value and a fix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.control.paths import control_endpoint, default_directory, socket_path
from gnutella.errors import UserError
from gnutella.settings import ControlSettings, Settings
from gnutella.settings_check import check_endpoint, describe, raw_of, value_of
from gnutella.settings_file import MAX_FILE_BYTES, ConfigError, keys, load, with_runtime


def written(directory: Path, text: str) -> str:
    path = directory / "gnutella.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def problems(
    path: str | None, environ: dict[str, str] | None = None, options: dict[str, object] | None = None
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ, options)
    assert caught.value.exit_code == 78
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def test_without_anything_there_are_the_defaults() -> None:
    loaded = load(None)
    assert loaded.settings == Settings()
    assert {row["source"] for row in loaded.rows()} == {"default"}


def test_the_later_layer_wins_and_its_name_is_kept(tmp_path: Path) -> None:
    path = written(tmp_path, '[network]\nrole = "leaf"\nmax_links = 1\nmax_leaves = 1\nwant_links = 1\n')
    environ = {
        "GNUTELLA_NETWORK_MAX_LINKS": "2",
        "GNUTELLA_NETWORK_MAX_LEAVES": "2",
        "GNUTELLA_NETWORK_WANT_LINKS": "2",
    }
    loaded = load(path, environ, {"network.max_leaves": 3, "network.want_links": "3"}, {"network.want_links": 4})
    network = loaded.settings.network
    assert (network.role, network.max_links, network.max_leaves, network.want_links) == ("leaf", 1 + 1, 3, 4)
    assert loaded.origin("network.role") == ("file", "line 2")
    assert loaded.origin("network.max_links") == ("env", "GNUTELLA_NETWORK_MAX_LINKS")
    assert loaded.origin("network.max_leaves").source == "option"
    assert loaded.origin("network.want_links").source == "runtime"
    assert loaded.changes() == [{"key": "network.want_links", "value": 4, "configured": 3}]


@pytest.mark.parametrize(
    ("text", "line", "parts"),
    [
        ("\n[network]\nrol = 'leaf'\n", 3, ["network.rol = 'leaf'", 'did you mean "role"?']),
        ("[netwrk]\n", 1, ["[netwrk]", 'did you mean "network"?']),
        ("[network]\n\n# why\nrole = 'hub'\n", 4, ["network.role = 'hub'", '"auto" or "leaf" or "ultrapeer"']),
        ("[network]\nmax_links = 'x'\n", 2, ["network.max_links = 'x'", "a whole number from 0 to 1000000"]),
        ("[network]\nmax_links = -1\n", 2, ["network.max_links = -1", ">= 0"]),
        ("[network]\nlisten = 'tcp:1'\n", 2, ["network.listen", "a list of texts"]),
        ("[network]\nlisten = [\n 'tcp:1',\n 'tpc:2',\n]\n", 2, ["'tpc'", "tcp:6346"]),
        ("[network]\nlisten = ['tcp:99999']\n", 2, ["'99999'", "port"]),
        ("[network]\nlisten = ['unix']\n", 2, ["lacks the path"]),
        ("[network]\nconnect = ['host:0']\n", 2, ["network.connect", "'0'", "port"]),
        ("[network]\nadvertise = 'a b'\n", 2, ["network.advertise", "no host"]),
        ('[network]\nuser_agent = "a\\nb"\n', 2, ["network.user_agent", "ASCII"]),
        ("[network]\ntls = 1\n", 2, ["network.tls = 1", "true or false"]),
        ("[sharing]\ndirectories = ['gone']\n", 2, ["sharing.directories", "gone", "does not exist", "create it"]),
        ("[sharing]\nrescan_s = 1e9\n", 2, ["sharing.rescan_s", "a number from 0 to 604800"]),
        ("[control]\ncontrol = 'unix:/x:mode=888'\n", 2, ["control.control", "octal"]),
        ("[log]\nlevels = {a = 'loud'}\n", 2, ["log.levels", "loud"]),
        ("network = 3\n", 1, ["network = 3", "[network]"]),
        ("network.rol = 3\n", 1, ["network.rol"]),
    ],
)
def test_a_mistake_in_the_file_is_named_with_line_value_and_fix(
    tmp_path: Path, text: str, line: int, parts: list[str]
) -> None:
    (found,) = problems(written(tmp_path, text))
    assert f"gnutella.toml line {line}: " in found
    assert all(part in found for part in parts), found
    assert "\n" not in found


def test_every_mistake_is_listed_not_only_the_first(tmp_path: Path) -> None:
    path = written(tmp_path, "[network]\nrole = 1\nmax_links = 'x'\n[nothing]\n")
    found = problems(path, {"GNUTELLA_NETWORK_ROEL": "leaf", "GNUTELLA_LOG_LEVEL": "loud"}, {"network.profile": "moon"})
    assert len(found) == 6
    assert any("GNUTELLA_NETWORK_ROEL" in item and "GNUTELLA_NETWORK_ROLE" in item for item in found)
    assert any(item.startswith("environment GNUTELLA_LOG_LEVEL: ") for item in found)
    assert any(item.startswith("option --profile: network.profile = 'moon'") for item in found)


def test_a_file_that_is_no_toml_names_line_and_column(tmp_path: Path) -> None:
    (found,) = problems(written(tmp_path, "[network]\nrole = leaf\n"))
    assert "gnutella.toml line 2, column 8: " in found


@pytest.mark.parametrize("data", [b"\xff\xfe[", b"#" * (MAX_FILE_BYTES + 1)])
def test_a_file_that_is_no_text_or_too_long_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "gnutella.toml"
    path.write_bytes(data)
    assert len(problems(str(path))) == 1


def test_a_file_that_is_not_there_is_an_error_with_a_fix(tmp_path: Path) -> None:
    (found,) = problems(str(tmp_path / "none.toml"))
    assert "gnutella init" in found


def test_other_variables_of_the_environment_are_left_alone() -> None:
    assert load(None, {"GNUTELLA_DIR": "/x", "GNUTELLA_HOME": "y", "HOME": "/"}).settings == Settings()


def test_directories_count_from_the_file_and_become_absolute(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    loaded = load(written(tmp_path, "[sharing]\ndirectories = ['music']\n"))
    assert loaded.settings.sharing.directories == (str(tmp_path / "music"),)


def test_a_whole_number_will_do_for_seconds(tmp_path: Path) -> None:
    assert load(written(tmp_path, "[network]\ndial_timeout_s = 3\n")).settings.network.dial_timeout_s == 3.0


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("network.tls", "off", False),
        ("network.connect", "a:1, b:2", ("a:1", "b:2")),
        ("network.connect", "", ()),
        ("log.levels", "gnutella.routing=debug", {"gnutella.routing": "debug"}),
        ("transfers.retry_s", "2.5", 2.5),
    ],
)
def test_values_may_be_written_as_text(key: str, text: str, value: object) -> None:
    assert value_of(key, keys()[key], raw_of(keys()[key], text), "/") == value


@given(key=st.sampled_from(sorted(keys())), text=st.text(max_size=30))
def test_a_text_is_either_a_value_or_a_readable_error(key: str, text: str) -> None:
    try:
        changed = with_runtime(load(None), key, text)
    except UserError as error:
        assert key in error.message
        assert error.exit_code == 64
    else:
        assert load(None, runtime=changed.runtime).settings == changed.settings


def test_a_run_time_change_can_be_taken_back() -> None:
    changed = with_runtime(load(None, {"GNUTELLA_TRANSFERS_MAX_UPLOADS": "5"}), "transfers.max_uploads", "9")
    assert (changed.value("transfers.max_uploads"), changed.runtime) == (9, {"transfers.max_uploads": 9})
    back = with_runtime(changed, "transfers.max_uploads", "")
    assert (back.value("transfers.max_uploads"), back.runtime) == (5, {})
    assert back.origin("transfers.max_uploads").source == "env"


def test_an_unknown_key_at_run_time_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match=r"did you mean \"transfers.max_uploads\""):
        with_runtime(load(None), "transfers.max_upload", "1")


def test_kept_changes_that_no_longer_fit_are_left_out() -> None:
    loaded = load(None, runtime={"network.gone": 1, "network.role": "emperor", "network.max_links": 3})
    assert loaded.runtime == {"network.max_links": 3}


@pytest.mark.parametrize(
    "text", ["tcp:6346", "tcp:0:interface=127.0.0.1", "tcp6:1", "unix:/a\\:b:mode=600", "systemd:domain=INET:index=0"]
)
def test_endpoints_of_twisted_are_taken(text: str) -> None:
    assert check_endpoint(text) == text


def test_what_may_be_written_can_be_described_for_every_key() -> None:
    assert all(describe(kind) for kind in keys().values())


def test_the_directory_follows_variable_then_xdg_then_home() -> None:
    assert default_directory({"GNUTELLA_DIR": "/n", "XDG_STATE_HOME": "/s", "HOME": "/h"}) == "/n"
    assert default_directory({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == "/s/gnutella"
    assert default_directory({"XDG_STATE_HOME": "relative", "HOME": "/h"}) == "/h/.local/state/gnutella"


@pytest.mark.parametrize("directory", ["/srv/node", "/with:colon/and\\slash"])
def test_the_socket_is_found_where_the_endpoint_says(directory: str) -> None:
    assert socket_path(control_endpoint(ControlSettings(), directory)) == f"{directory}/control.sock"
    assert socket_path(control_endpoint(ControlSettings(control="unix:/run/x:mode=600"), directory)) == "/run/x"
    assert socket_path("tcp:1") is None


def test_what_waits_for_a_restart_is_shown_beside_what_is_in_force() -> None:
    started = load(None, {"GNUTELLA_NETWORK_PROFILE": "public"})
    changed = with_runtime(started, "network.profile", "lan")
    changed = replace(with_runtime(changed, "transfers.max_uploads", "9"), at_start=started)
    rows = {row["key"]: row for row in changed.rows()}
    profile = rows["network.profile"]
    assert (profile["value"], profile["source"], profile["after_restart"]) == ("public", "env", "lan")
    assert profile["detail"] == 'GNUTELLA_NETWORK_PROFILE; after restart: "lan"'
    assert (rows["transfers.max_uploads"]["value"], rows["transfers.max_uploads"]["after_restart"]) == (9, None)
    assert changed.waits_for_restart("network.profile") and not changed.waits_for_restart("transfers.max_uploads")
    back = with_runtime(changed, "network.profile", "")
    assert not back.waits_for_restart("network.profile")
    assert next(row for row in back.rows() if row["key"] == "network.profile")["detail"] == "GNUTELLA_NETWORK_PROFILE"


def test_an_ultrapeer_holds_32_links_and_100_leaves_and_by_setting_up_to_2000() -> None:
    network = load(None).settings.network
    assert (network.max_links, network.max_leaves) == (32, 100)
    assert load(None, {}, {"network.max_leaves": 2000}).settings.network.max_leaves == 2000
    (problem,) = problems(None, {}, {"network.max_leaves": 2001})
    assert "network.max_leaves" in problem and "2000" in problem
