"""One query's way through a network as a picture that moves: SVG with a few lines of script, all within the page.

The asker is in the middle, and each node stands on the ring of its hops, beside who sent the query to it; so the whole picture,
which is what is seen without scripts, tells as much as the steps do.  Steps are shown by buttons and a slider, and play by
themselves only for readers who have not asked for less motion.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gnutella.lab.life import Life
from gnutella.lab.net import Network
from gnutella.units import LinkId

#: Half the picture's width; the outermost ring and half of it for names beyond.
SIDE, EDGE = 500.0, 470.0
#: Up to so many nodes, each has its name beside it.
MAX_NAMED = 80
#: Milliseconds of a step.
STEP_MS = 900

STYLE = """
.spread{margin:0;max-width:62em}.spread svg{width:100%;height:auto;background:#fff;border:1px solid #ddd}
.spread .bar{display:flex;gap:.5em;align-items:center;margin:.4em 0;flex-wrap:wrap}.spread input{flex:1;min-width:8em}
.spread button{font:inherit;min-width:2.6em;padding:.2em .6em}.spread output{flex-basis:100%}
.spread line{stroke:#ddd;stroke-width:1}.spread line.way{stroke:#5b8cc0;stroke-width:1.4}
.spread line.new{stroke:#c75a00;stroke-width:2.2}.spread line.back{stroke:#1a7f37;stroke-width:3}
.spread circle{fill:#2f6db3}.spread circle.new{fill:#c75a00}
.spread circle.far{fill:#ccc}.spread circle.ring{fill:none;stroke:#f0f0f0}
.spread circle.asker{fill:#b3261e}.spread circle.has{stroke:#1a7f37;stroke-width:4}
.spread line.not{visibility:hidden}.spread circle.not{fill:#ddd}.spread .has.not{stroke:none}
.spread text{font:13px sans-serif;fill:#333}
@media (prefers-reduced-motion:no-preference){.spread circle,.spread line{transition:fill .3s,stroke .3s}}
@media (prefers-reduced-motion:reduce){.spread .play{display:none}}
"""
SCRIPT = """
for (const figure of document.querySelectorAll(".spread")) {
  const parts = figure.querySelectorAll("[data-step]"), captions = figure.querySelectorAll(".captions li");
  const bar = figure.querySelector(".bar"), slider = bar.querySelector("input"), play = bar.querySelector(".play");
  const last = captions.length - 1, told = bar.querySelector("output");
  let timer = 0;
  const show = (step) => {
    slider.value = step = Math.max(0, Math.min(last, step));
    told.value = captions[step].textContent;
    for (const part of parts) {
      part.classList.toggle("not", +part.dataset.step > step);
      part.classList.toggle("new", +part.dataset.step === step);
    }
  };
  const stop = () => { clearInterval(timer); timer = 0; play.textContent = "Play"; };
  const start = () => {
    if (+slider.value >= last) show(0);
    play.textContent = "Pause";
    timer = setInterval(() => { show(+slider.value + 1); if (+slider.value >= last) stop(); }, STEP_MS);
  };
  play.onclick = () => timer ? stop() : start();
  slider.oninput = () => { stop(); show(+slider.value); };
  bar.querySelector(".less").onclick = () => { stop(); show(+slider.value - 1); };
  bar.querySelector(".more").onclick = () => { stop(); show(+slider.value + 1); };
  figure.querySelector(".captions").hidden = true;
  bar.hidden = false;
  show(last);
  if (matchMedia("(prefers-reduced-motion: no-preference)").matches) start();
}
""".replace("STEP_MS", str(STEP_MS))

Point = tuple[float, float]


class Way(NamedTuple):
    """How a query came through the network: hops of each node that has it, and from whom it had it first."""

    origin: int
    hops: dict[int, int]
    parents: dict[int, int]
    #: Nodes whose hits came back.
    answered: frozenset[int]

    @property
    def steps(self) -> int:
        """The most hops."""
        return max(self.hops.values())


def way_of(net: Network, life: Life) -> Way:
    """What the watch saw of it."""
    by_end = {end.id: end.peer.node.number for end in net.all_ends}
    hops, parents = {life.origin: 0}, {}
    for number, came in enumerate(life.came):
        if came and number != life.origin:
            parents[number] = by_end[LinkId(came)]
    for number in parents:
        hops[number] = _depth(number, parents, life.origin)
    answered = {net.nodes[arrival.node].number for arrival in life.arrivals if arrival.node in net.nodes}
    return Way(life.origin, hops, parents, frozenset(answered & hops.keys()))


def _depth(number: int, parents: Mapping[int, int], origin: int) -> int:
    """Steps up to the asker; a way that a restart of a node has cut counts from where it is cut."""
    depth = 0
    while number != origin and number in parents and depth <= len(parents):
        number, depth = parents[number], depth + 1
    return depth


def nearest(origin: int, near: Mapping[int, Iterable[int]]) -> Way:
    """The shortest ways from one node to all others."""
    hops, parents, order = {origin: 0}, {}, [origin]
    for number in order:
        for other in near.get(number, ()):
            if other not in hops:
                hops[other], parents[other] = hops[number] + 1, number
                order.append(other)
    return Way(origin, hops, parents, frozenset())


def rings(nodes: int, way: Way) -> list[Point]:
    """A place for each node: by hops from the middle, children beside their parents; who never had it, outermost."""
    children: dict[int, list[int]] = {}
    for number, parent in sorted(way.parents.items()):
        children.setdefault(parent, []).append(number)
    far = [number for number in range(nodes) if number not in way.hops]
    step = EDGE / (way.steps + bool(far) or 1)
    places: list[Point] = [(0.0, 0.0)] * nodes
    for number, angle in _angles(way.origin, children).items():
        places[number] = _at(angle, step * way.hops[number])
    for at, number in enumerate(far):
        places[number] = _at(2 * math.pi * at / len(far), EDGE)
    return places


def _angles(origin: int, children: Mapping[int, Sequence[int]]) -> dict[int, float]:
    """Each subtree has a part of the circle as large as the number of its ends."""
    order, seen = [origin], {origin}
    for number in order:
        for child in children.get(number, ()):
            if child not in seen:
                seen.add(child)
                order.append(child)
    ends: dict[int, int] = {}
    for number in reversed(order):
        ends[number] = sum(ends.get(child, 0) for child in children.get(number, ())) or 1
    angles, starts = {origin: 0.0}, {origin: 0.0}
    for number in order:
        start = starts[number]
        for child in children.get(number, ()):
            starts[child] = start
            angles[child] = 2 * math.pi * (start + ends[child] / 2) / ends[origin]
            start += ends[child]
    return angles


def _at(angle: float, radius: float) -> Point:
    return radius * math.cos(angle), radius * math.sin(angle)


def spread(net: Network, life: Life) -> str:
    """The figure.  The page that it stands in needs STYLE, and SCRIPT at its end."""
    way = way_of(net, life)
    names = list(net.nodes)
    places = rings(len(names), way)
    captions = "".join(f"<li>{html.escape(line)}</li>" for line in _captions(way, life, len(names)))
    drawing = "".join((*_circles(way), *_lines(net, way, places), *_nodes(way, names, places)))
    last = way.steps + bool(way.answered)
    return (
        '<figure class="spread"><div class="bar" hidden><button type="button" class="play">Play</button>'
        '<button type="button" class="less" aria-label="one step back">&#8592;</button>'
        '<button type="button" class="more" aria-label="one step on">&#8594;</button>'
        f'<input type="range" min="0" max="{last}" value="{last}" aria-label="step"><output></output></div>'
        f'<svg viewBox="{-SIDE:g} {-SIDE:g} {2 * SIDE:g} {2 * SIDE:g}" role="img" aria-label="the query in the network">'
        f'{drawing}</svg><ol class="captions" start="0">{captions}</ol></figure>'
    )


def _captions(way: Way, life: Life, nodes: int) -> Iterator[str]:
    come = 0
    for step in range(way.steps + 1):
        fresh = sum(hops == step for hops in way.hops.values())
        come += fresh
        if not step:
            yield f"{life.text!r} is asked (red)"
        else:
            yield f"hop {step}: {fresh} more nodes have it (orange), {come - 1} of {nodes - 1} in all"
    if way.answered:
        yield f"hits come back over the same links (green), from {len(way.answered)} of them"


def _circles(way: Way) -> Iterator[str]:
    for hop in range(1, way.steps + 1):
        yield f'<circle class="ring" r="{EDGE * hop / max(1, way.steps):.0f}"/>' if len(way.hops) > 1 else ""


def _lines(net: Network, way: Way, places: Sequence[Point]) -> Iterator[str]:
    first = {frozenset(pair) for pair in way.parents.items()}
    for one, other in sorted({_pair(end.node.number, end.peer.node.number) for end in net.ends()}):
        if frozenset((one, other)) not in first:
            yield _line(places[one], places[other], "", None)
    for number, parent in way.parents.items():
        yield _line(places[parent], places[number], "way", way.hops[number])
    for number, parent in _back(way):
        yield _line(places[parent], places[number], "back", way.steps + 1)


def _pair(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)


def _back(way: Way) -> Iterable[tuple[int, int]]:
    """The links that hits came back over, each once."""
    used: dict[int, int] = {}
    for number in sorted(way.answered):
        while number != way.origin and number in way.parents and number not in used:
            used[number] = way.parents[number]
            number = way.parents[number]
    return used.items()


def _line(one: Point, other: Point, kind: str, step: int | None) -> str:
    marks = (f' class="{kind}"' if kind else "") + (f' data-step="{step}"' if step is not None else "")
    return f'<line x1="{one[0]:.1f}" y1="{one[1]:.1f}" x2="{other[0]:.1f}" y2="{other[1]:.1f}"{marks}/>'


def _nodes(way: Way, names: Sequence[str], places: Sequence[Point]) -> Iterator[str]:
    radius = max(2.5, min(9.0, 150 / math.sqrt(len(names)) / 2))
    for number, (name, (x, y)) in enumerate(zip(names, places, strict=True)):
        hops = way.hops.get(number)
        step = f' data-step="{hops}"' if hops else ""
        kind = "asker" if number == way.origin else "far" if hops is None else ""
        title = "never had it" if hops is None else f"{hops} hops" if hops else "asked"
        place = f'cx="{x:.1f}" cy="{y:.1f}"'
        told = f"<title>{html.escape(name)}: {title}</title>"
        size = max(radius, 7.0) if kind == "asker" else radius
        yield f'<circle class="{kind}" {place} r="{size:.1f}"{step}>{told}</circle>'
        if number in way.answered:
            ring = f'class="has" data-step="{way.steps + 1}" fill="none"'
            yield f'<circle {ring} {place} r="{radius + 2:.1f}" style="fill:none"/>'
        if len(names) <= MAX_NAMED:
            yield f'<text x="{x + radius + 2:.1f}" y="{y + 4:.1f}">{html.escape(name)}</text>'
