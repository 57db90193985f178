"""Pages with pictures: made when matplotlib is here, a readable refusal when it is not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from gnutella.errors import UserError
from gnutella.lab.cli import main
from gnutella.lab.runner import build
from gnutella.lab.scenario import parse
from gnutella.lab.spread import nearest, rings, spread

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
    assert "prefers-reduced-motion" in pages[0] and "src=" not in pages[0] and "<link" not in pages[0]
    compared = tmp_path / "compare.html"
    assert main(["compare", "--nodes", "20", "--queries", "3", "--html", str(compared)]) == 0
    assert compared.read_text().count("<svg") == 4


HOSTILE = """
name = "</title><script>alert(1)</script>"
about = "<img src=x>"
[topology]
kind = "star"
[[node]]
name = "<b>hub</b>"
[[node]]
name = '"onload=1'
files = ["<i>song.ogg"]
[[node]]
name = "far"
[[action]]
do = "leave"
at_s = 1
node = "far"
[[action]]
do = "query"
at_s = 2
from = "<b>hub</b>"
text = "<i>song"
"""


def test_the_spread_shows_who_had_the_query_when_and_the_way_back_and_nothing_is_markup() -> None:
    run = build(parse(HOSTILE))
    run.finish()
    figure = spread(run.net, run.quests[0].lives[0])
    assert figure.count("<circle") == 3 + 1 + 1  # three nodes, the ring of hop 1, and a mark of who answered
    assert 'class="far"' in figure and "never had it" in figure
    assert figure.count("<li>") == 3 and "hits come back" in figure
    assert 'class="back" data-step="2"' in figure
    assert "<b>" not in figure and "<i>" not in figure and '="onload' not in figure
    assert "&lt;b&gt;hub&lt;/b&gt;" in figure


def test_a_ring_for_each_hop_and_one_for_those_never_reached() -> None:
    way = nearest(0, {0: [1, 2], 1: [3], 2: [], 3: []})
    assert way.steps == 2 and way.parents == {1: 0, 2: 0, 3: 1}
    radii = [round((x * x + y * y) ** 0.5) for x, y in rings(5, way)]
    assert radii[0] == 0 and radii[1] == radii[2] < radii[3] < radii[4]
    assert len(set(rings(5, way))) == 5


@pytest.mark.skipif(HAS_MATPLOTLIB, reason="matplotlib is here")
def test_without_matplotlib_one_line_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gnutella-servent"):
        main([str(SCENARIOS / "line.toml"), "--html", str(tmp_path / "x.html")])
