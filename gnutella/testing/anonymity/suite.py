"""The attacks, each against the production objects and against its broken twin, as rows of figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

from anonymizer.stem import Stem
from gnutella.testing.anonymity import counters, filling, neighbours, replay, traceback, whole_nodes
from gnutella.testing.anonymity.plan import Plan
from gnutella.testing.anonymity.report import Goal, Row
from gnutella.testing.anonymity.stats import Share, mean, share
from gnutella.testing.anonymity.suite_timing import a5
from gnutella.testing.anonymity.twins import CoinForEach, CountsHops, GuardForEach, OneChannel, RemembersSeals

# -- A1 ------------------------------------------------------------------------------------------------------------------


def _findings(plan: Plan, kind: type[Stem], seeds: Sequence[int]) -> neighbours.Findings:
    found = neighbours.Findings()
    for seed in seeds:
        found.extend(neighbours.one_by_one(plan.nodes, plan.spies, plan.circuits, seed, kind))
    return found


def a1(plan: Plan) -> list[Row]:
    """Colluding passive neighbours: single circuits, and series of circuits that can be linked."""
    ours = _findings(plan, Stem, plan.seeds) if plan.ours else None
    twin = _findings(plan, CountsHops, plan.seeds[:4]) if plan.has("hops") else None
    rows = [
        _a1_share("precision, seen on the stem", lambda f: f.precision, Goal(0.35), ours, twin),
        _a1_share("recall, seen on the stem", lambda f: f.recall_on_stems, Goal(0.12), ours, twin),
        _a1_share("recall, seen on stem or bridge", lambda f: f.recall, Goal(0.12), ours, twin),
        _a1_share("precision, seen on stem or bridge", lambda f: f.precision_with_bridges, None, ours, twin),
        _a1_share("share of seen with posterior > .9", lambda f: f.surer_than(0.9), Goal(0.01), ours, twin),
        _a1_share("share of seen with posterior > .5", lambda f: f.surer_than(0.5), None, ours, twin),
        _a1_share("some spy sees it on the stem", lambda f: f.some_spy_sees, None, ours, twin),
        _a1_number("d given seen", lambda f: f.degree, Goal(at_least=0.5), ours, twin),
        _a1_number("d of the system", lambda f: f.degree_of_system, Goal(at_least=0.83), ours, twin),
        _a1_number("effective set 2^H given seen", lambda f: f.effective_set, Goal(at_least=18), ours, twin),
    ]
    return rows + _a1_filled(plan) + _a1_series(plan)


def _a1_filled(plan: Plan) -> list[Row]:
    """While the spies keep full what edges they can."""
    if not plan.ours:
        return []
    found = filling.Shortened()
    for seed in plan.seeds[: max(1, len(plan.seeds) // 4)]:
        found.extend(filling.shortened(plan.nodes, plan.spies, plan.circuits, seed))
    shares = (
        ("precision, seen on the stem", found.knowing.precision, Goal(0.35)),
        ("recall, seen on stem or bridge", found.knowing.recall, Goal(0.12)),
        ("share of seen with posterior > .9", found.knowing.surer_than(0.9), Goal(0.01)),
    )
    return [
        Row("A1", f"{figure}, edges kept full", one.value, one.interval, goal, trials=one.trials)
        for figure, one, goal in shares
    ]


def _a1_share(
    figure: str,
    of: Callable[[neighbours.Findings], Share],
    goal: Goal | None,
    ours: neighbours.Findings | None,
    twin: neighbours.Findings | None,
) -> Row:
    found = of(ours) if ours else None
    return Row(
        "A1",
        figure,
        found.value if found else None,
        found.interval if found else None,
        goal,
        "hops",
        of(twin).value if twin else None,
        found.trials if found else 0,
    )


def _a1_number(
    figure: str,
    of: Callable[[neighbours.Findings], float],
    goal: Goal | None,
    ours: neighbours.Findings | None,
    twin: neighbours.Findings | None,
) -> Row:
    seen = len(ours.seen) if ours else 0
    return Row("A1", figure, of(ours) if ours else None, None, goal, "hops", of(twin) if twin else None, seen)


SERIES: Final = 30


def _a1_series(plan: Plan) -> list[Row]:
    def run(kind: type[Stem]) -> neighbours.Series:
        found = neighbours.Series()
        for seed in plan.seeds[: max(2, len(plan.seeds) // 4)]:
            origins = min(40, plan.nodes // 4)
            found.extend(neighbours.series(plan.nodes, plan.spies, origins, SERIES, seed, kind))
        return found

    def grown(found: neighbours.Series) -> float:
        return mean(verdict.best for verdict in found.last) - mean(verdict.best for verdict in found.first)

    def right(found: neighbours.Series) -> Share:
        """Of all origins, so many were named."""
        return share([verdict.is_right for verdict in found.last] + [False] * (found.origins - len(found.last)))

    ours = run(Stem) if plan.ours else None
    rows = []
    for name, kind in (("coin", CoinForEach), ("guard", GuardForEach)):
        twin = run(kind) if plan.has(name) else None
        rows.append(
            Row(
                "A1",
                f"posterior after {SERIES} circuits, more than after 1",
                grown(ours) if ours else None,
                None,
                Goal(0.02),
                name,
                grown(twin) if twin else None,
                len(ours.last) if ours else 0,
            )
        )
        rows.append(
            Row(
                "A1",
                f"origins named after {SERIES} circuits",
                right(ours).value if ours else None,
                right(ours).interval if ours else None,
                Goal(0.12),
                name,
                right(twin).value if twin else None,
                right(ours).trials if ours else 0,
            )
        )
    return rows


# -- A3 ------------------------------------------------------------------------------------------------------------------


def a3(plan: Plan) -> list[Row]:
    """Counters in cells: the best of three learners on raw bytes."""
    circuits = 2 * plan.circuits * len(plan.seeds)
    nodes = min(plan.nodes, 60)
    ours = counters.measure(nodes, circuits, plan.seeds[0]) if plan.ours else {}
    twin = counters.measure(nodes, circuits // 4, plan.seeds[0], CountsHops) if plan.has("hops") else {}
    rows = []
    for command in counters.COMMANDS:
        name, samples, found = ours.get(command, ("", 0, None))
        rows.append(
            Row(
                "A3",
                f"AUC of {command.name} bytes ({name})" if name else f"AUC of {command.name} bytes",
                found.value if found else None,
                found.interval if found else None,
                Goal(0.52, 0.48),
                "hops" if command is command.OPEN else "",
                twin[command][2].value if twin and command is command.OPEN else None,
                2 * samples,
            )
        )
    return rows


# -- A4, A10 -------------------------------------------------------------------------------------------------------------

#: Nodes that fetch a file each, in a net of so many.
FETCHERS: Final = 8
WHOLE_NODES: Final = 100


@cache
def _whole(plan: Plan, broken: str) -> whole_nodes.Counted:
    found = whole_nodes.Counted()
    for seed in plan.seeds[: max(1, len(plan.seeds) // 2)]:
        found.extend(whole_nodes.measure(min(plan.nodes, WHOLE_NODES), FETCHERS, seed, broken))
    return found


def a4(plan: Plan) -> list[Row]:
    """Volume: who asked for most keys of a file."""
    ours = _whole(plan, whole_nodes.OURS) if plan.ours else None
    twin = _whole(plan, whole_nodes.DIRECT) if plan.has("stem") else None
    return [
        Row(
            "A4",
            "AUC of key requests counted, who fetched",
            ours.volume.value if ours else None,
            ours.volume.interval if ours else None,
            Goal(0.55),
            "stem",
            twin.volume.value if twin else None,
            len(ours.fetchers) if ours else 0,
        )
    ]


def a10(plan: Plan) -> list[Row]:
    """Stores: what a fetch leaves in them."""
    ours = _whole(plan, whole_nodes.OURS) if plan.ours else None
    twin = _whole(plan, whole_nodes.SHARED) if plan.has("cache") else None
    rows = [
        Row(
            "A10",
            "keys that a fetch leaves in stores, above those of others",
            _gained(ours) if ours else None,
            _above(ours) if ours else None,
            Goal(0.01),
            "cache",
            _gained(twin) if twin else None,
            ours.gained.trials if ours else 0,
        )
    ]
    if ours:
        answered = Share(sum(ours.answered), len(ours.answered))
        figure = "answers from the user's own cache"
        rows.append(Row("A10", figure, answered.value, answered.interval, Goal(0), trials=answered.trials))
    return rows


def _above(found: whole_nodes.Counted) -> tuple[float, float]:
    low, high = found.gained.interval
    return low - found.gained_by_others.value, high - found.gained_by_others.value


def _gained(found: whole_nodes.Counted) -> float:
    return found.gained.value - found.gained_by_others.value


# -- A12 -----------------------------------------------------------------------------------------------------------------


def a12(plan: Plan) -> list[Row]:
    """Replay of openings, posts and key requests."""
    rows = []
    for figure, run in (
        ("searches flooded again", replay.openings),
        ("posts delivered again", replay.posts),
        ("key requests passed on again", replay.fetches),
    ):
        ours = run(plan.replays, plan.seeds[0]) if plan.ours else None
        twin = run(1_000, plan.seeds[0], True) if plan.has("replay") else None
        upper = (0.0, ours.effects + 3) if ours and not ours.effects else None
        rows.append(
            Row(
                "A12",
                f"{figure}, of {plan.replays:,} replays",
                ours.effects if ours else None,
                upper,
                Goal(0),
                "replay (1,000)",
                twin.effects if twin else None,
                ours.sent if ours else 0,
            )
        )
    return rows


# -- A13 -----------------------------------------------------------------------------------------------------------------


def a13(plan: Plan) -> list[Row]:
    """Traceback by what was seen."""

    def run(kind: type[Stem]) -> Share:
        return traceback.surviving(plan.nodes, plan.circuits, plan.seeds[0], kind)

    ids = run(Stem) if plan.ours else None
    twin = run(OneChannel) if plan.has("uid") else None
    rows = [
        Row(
            "A13",
            "numbers in headers that survive a hop",
            ids.value if ids else None,
            ids.interval if ids else None,
            Goal(0),
            "uid",
            twin.value if twin else None,
            ids.trials if ids else 0,
        )
    ]
    if plan.ours:
        answers = traceback.answers(plan.nodes, plan.circuits // 3, plan.seeds[0], plan.spies)
        rows.append(
            Row(
                "A13",
                "answers to a channel of another link",
                answers.value,
                answers.interval,
                Goal(0),
                "",
                None,
                answers.trials,
            )
        )
        alarms, controls = _oracle(plan, Stem, 8)
        broken = _oracle(plan, RemembersSeals, 2) if plan.has("seals") else None
        excess = alarms.value - controls.value
        interval = alarms.interval[0] - controls.value, alarms.interval[1] - controls.value
        rows.append(
            Row(
                "A13",
                f"circuits that a replayed seal gives away, above controls ({controls.value:.3f})",
                excess,
                interval,
                Goal(0.01),
                "seals" if broken else "",
                broken[0].value - broken[1].value if broken else None,
                alarms.trials,
            )
        )
        alarms, controls = _together(
            [filling.levels(plan.nodes, plan.circuits // 2, seed, plan.spies) for seed in plan.seeds[:8]]
        )
        rows.append(
            Row(
                "A13",
                f"circuits that the level of an edge gives away, above controls ({controls.value:.3f})",
                alarms.value - controls.value,
                (alarms.interval[0] - controls.value, alarms.interval[1] - controls.value),
                Goal(0.01),
                trials=alarms.trials,
            )
        )
    return rows


def _oracle(plan: Plan, kind: type[Stem], nets: int) -> tuple[Share, Share]:
    """Alarms and controls of some nets together."""
    seeds = plan.seeds[:nets]
    return _together([traceback.oracle(plan.nodes, plan.circuits // 2, seed, plan.spies, kind) for seed in seeds])


def _together(found: Sequence[traceback.Oracle]) -> tuple[Share, Share]:
    alarms = Share(sum(one.alarms.hits for one in found), sum(one.alarms.trials for one in found))
    return alarms, Share(sum(one.controls.hits for one in found), sum(one.controls.trials for one in found))


ADVERSARIES: Final[dict[str, Callable[[Plan], list[Row]]]] = {
    "A1": a1,
    "A3": a3,
    "A4": a4,
    "A5": a5,
    "A10": a10,
    "A12": a12,
    "A13": a13,
}
#: Which attacks break which twin.
TWINS: Final = {
    "hops": ("A1", "A3"),
    "coin": ("A1",),
    "guard": ("A1",),
    "stem": ("A4",),
    "vstem": ("A5",),
    "credit": ("A5",),
    "reopen": ("A5",),
    "lanes": ("A5",),
    "answer": ("A5",),
    "cache": ("A10",),
    "replay": ("A12",),
    "uid": ("A13",),
    "seals": ("A13",),
}


def run(names: Sequence[str], plan: Plan) -> list[Row]:
    """The rows of these attacks; those that a plan does not run are left out."""
    rows = [row for name in names for row in ADVERSARIES[name](plan)]
    return [row for row in rows if row.value is not None or (row.broken is not None and not math.isnan(row.broken))]
