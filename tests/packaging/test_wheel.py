"""The project as it is shipped: built from a clean copy, installed into a fresh environment, used, and removed again.

The one trap that matters most: a file too many below twisted/ would overwrite Twisted itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gnutella import __version__

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = "twisted/plugins/gnutella_plugin.py"
#: What a checkout may hold beside the sources.
LEFTOVERS = (
    "build",
    "dist",
    ".git",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "dropin.cache",
    "env",
    ".venv",
)

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(400)]


def run(*command: str | Path, cwd: Path, check: bool = True) -> str:
    """The command's output; a failure shows its end."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty directory that is no checkout."""
    return tmp_path_factory.mktemp("packaging")


@pytest.fixture(scope="module")
def source(place: Path) -> Path:
    """What is under version control (or, outside of git, everything but left-overs), without any stale build/."""
    target = place / "source"
    if not (ROOT / ".git").exists():
        shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*LEFTOVERS))
        return target
    for name in run("git", "-c", "safe.directory=*", "ls-files", "-z", cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


@pytest.fixture(scope="module")
def env(place: Path) -> Path:
    """The bin directory of a fresh environment that can build; nothing of ours is in it."""
    run(sys.executable, "-m", "venv", place / "env", cwd=place)
    installed = place / "env" / "bin"
    said = run(installed / "pip", "install", "-q", "setuptools>=77", cwd=place, check=False)
    if "No matching distribution" in said or "Could not" in said:
        pytest.skip(f"no package index can be reached: {said[-300:]}")
    return installed


@pytest.fixture(scope="module")
def dist(place: Path, source: Path, env: Path) -> Path:
    """A directory with one sdist and one wheel, the wheel made from the sdist as pip would."""
    target = place / "dist"
    target.mkdir()
    code = "import sys, setuptools.build_meta as m; getattr(m, sys.argv[1])(sys.argv[2])"
    run(env / "python", "-c", code, "build_sdist", target, cwd=source)
    (packed,) = target.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        # Python 3.11.2, as in Debian 12, has no filters yet.
        safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(place / "unpacked", **safe)
    (unpacked,) = (place / "unpacked").iterdir()
    run(env / "python", "-c", code, "build_wheel", target, cwd=unpacked)
    return target


def wheel_of(dist: Path) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


def shipped(dist: Path) -> list[str]:
    with zipfile.ZipFile(wheel_of(dist)) as archive:
        return archive.namelist()


def test_below_twisted_there_is_our_plugin_and_nothing_else(dist: Path) -> None:
    assert [name for name in shipped(dist) if name.startswith("twisted/")] == [PLUGIN]


def test_the_wheel_holds_every_module_and_no_tests(dist: Path, source: Path) -> None:
    names = shipped(dist)
    ours = {
        path.relative_to(source).as_posix()
        for package in ("gnutella", "anonymizer")
        for path in (source / package).rglob("*.py")
    }
    assert ours <= set(names)
    assert "gnutella/py.typed" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"anonymizer", "gnutella", "twisted"}


def check_commands(env: Path, place: Path) -> None:
    """What a person types after installing, from a directory that is not the checkout."""
    for tool in ("twistd", "twist"):
        listed = [line.split()[0] for line in run(env / tool, "--help", cwd=place).splitlines() if line.strip()]
        assert listed.count("gnutella") == 1, f"{tool} --help lists us {listed.count('gnutella')} times"
    assert __version__ in run(env / "gnutella", "--version", cwd=place)


def check_removed(env: Path, place: Path) -> None:
    """Twisted is whole without us."""
    run(env / "pip", "uninstall", "-q", "-y", "gnutella-servent", cwd=place)
    assert "gnutella" not in run(env / "twistd", "--help", cwd=place)
    assert not (env / "gnutella").exists()


def test_the_wheel_installs_runs_and_leaves(dist: Path, env: Path, place: Path) -> None:
    run(env / "pip", "install", "-q", wheel_of(dist), cwd=place)
    run(env / "pip", "check", cwd=place)
    check_commands(env, place)
    run(env / "gnutella", "demo", cwd=place)
    check_removed(env, place)


def test_an_editable_install_runs_and_leaves(env: Path, place: Path, source: Path) -> None:
    run(env / "pip", "install", "-q", "--no-build-isolation", "-e", source, cwd=place)
    check_commands(env, place)
    check_removed(env, place)
