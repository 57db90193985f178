"""Pages with pictures: made when matplotlib is here, a readable refusal when it is not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from gnutella.errors import UserError
from gnutella.lab.cli import main

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="needs the extra `lab`")
def test_a_page_has_its_pictures_and_is_the_same_each_time(tmp_path: Path) -> None:
    pages = []
    for number in range(2):
        path = tmp_path / f"{number}.html"
        assert main([str(SCENARIOS / "line.toml"), "--html", str(path)]) == 0
        pages.append(path.read_text())
    assert pages[0] == pages[1]
    assert pages[0].count("<svg") == 7
    compared = tmp_path / "compare.html"
    assert main(["compare", "--nodes", "20", "--queries", "3", "--html", str(compared)]) == 0
    assert compared.read_text().count("<svg") == 4


@pytest.mark.skipif(HAS_MATPLOTLIB, reason="matplotlib is here")
def test_without_matplotlib_one_line_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gnutella-servent"):
        main([str(SCENARIOS / "line.toml"), "--html", str(tmp_path / "x.html")])
