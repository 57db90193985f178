"""Scenario files as tests: each `scenarios/*.toml` that pytest comes across is run, and must come out as it expects.

    pytest                      in virtual time
    pytest --gnutella-live      those marked `live = true` also with real processes on loopback ports

Which files are scenarios is the ini option `gnutella_scenarios`: patterns as of pathlib, matched from the right.  The plugin is
installed with the package, so a user's own scenarios are collected in the user's own project.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gnutella.lab.outcome import Outcome
    from gnutella.lab.scenario import Scenario

DEFAULT_PATTERN = "scenarios/*.toml"


class ScenarioFailed(Exception):
    """The outcome was not as expected; its text is the report."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("gnutella").addoption(
        "--gnutella-live",
        action="store_true",
        help="run scenarios that are marked live with real processes too",
    )
    parser.addini("gnutella_scenarios", "patterns of scenario files", type="args", default=[DEFAULT_PATTERN])


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    patterns: list[str] = parent.config.getini("gnutella_scenarios")
    if file_path.suffix == ".toml" and any(file_path.match(pattern) for pattern in patterns):
        return ScenarioFile.from_parent(parent, path=file_path)
    return None


class ScenarioFile(pytest.File):
    """One file; one or two tests."""

    def collect(self) -> Iterator[ScenarioItem]:
        from gnutella.errors import UserError
        from gnutella.lab.scenario import load

        try:
            scenario = load(self.path)
        except UserError as error:
            raise self.CollectError(str(error)) from None
        yield ScenarioItem.from_parent(self, name="virtual", scenario=scenario)
        if scenario.live and self.config.getoption("--gnutella-live"):
            yield ScenarioItem.from_parent(self, name="live", scenario=scenario)


class ScenarioItem(pytest.Item):
    """One run."""

    def __init__(self, *, scenario: Scenario, **rest: Any) -> None:
        super().__init__(**rest)
        self.scenario = scenario

    def runtest(self) -> None:
        from gnutella.lab.report import text

        outcome = self._outcome()
        if not outcome.is_success:
            raise ScenarioFailed(text(outcome))

    def _outcome(self) -> Outcome:
        if self.name == "live":
            from gnutella.lab.live import run_live

            return run_live(self.scenario, path=self.path)
        from gnutella.lab.runner import run

        return run(self.scenario)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from gnutella.errors import UserError

        if isinstance(excinfo.value, (ScenarioFailed, UserError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.scenario.name or self.path.stem} ({self.name})"
