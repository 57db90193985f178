"""Ways to search compared among ultrapeers and leaves, in a small network."""

from __future__ import annotations

from typing import Any

import pytest

from gnutella.lab import report
from gnutella.lab.tiers import POPULAR, RARE, _sorts, compare_tiers, tiers
from gnutella.superpeers.dynamic import WANTED_OWN


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], dict[str, Any]]:
    found = compare_tiers(tiers(100, 10))
    assert not any(row["failures"] for row in found)
    return {(row["files"], row["strategy"]): row for row in found}


def test_each_way_has_a_row_for_each_sort_of_file(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    ways = {"flooding, TTL 7", "flooding, TTL 4", "dynamic", "random walks"}
    assert {way for _, way in rows} == ways
    assert {sort for sort, _ in rows} <= {"popular", "enough", "between", "rare", "all"}
    assert all(row.keys() >= {column.key for column in report.TIERS} for row in rows.values())
    assert report.table(report.TIERS, rows.values(), 160)
    assert POPULAR > RARE


def test_sorts_of_files_are_by_what_the_flood_finds() -> None:
    found = [0, RARE - 1, RARE, WANTED_OWN - 1, WANTED_OWN, POPULAR - 1, POPULAR, 1000]
    assert dict(_sorts([{"found": count} for count in found])) == {
        "popular": [6, 7],
        "enough": [4, 5, 6, 7],
        "between": [2, 3, 4, 5],
        "rare": [0, 1],
        "all": list(range(8)),
    }


def test_dynamic_queries_find_what_a_flood_finds_where_there_is_little(
    rows: dict[tuple[str, str], dict[str, Any]],
) -> None:
    # A hundred nodes have no file 150 times: everything is to be found, and nothing to be saved.
    assert rows["all", "dynamic"]["of_flood"] >= 95.0
    assert rows["all", "dynamic"]["enough"] >= 80.0
    assert rows["all", "dynamic"]["found"] > 0


def test_walks_pass_leaves_by_and_still_find_what_they_have(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert rows["all", "random walks"]["found"] > 0
    assert rows["all", "random walks"]["recall"] <= 1.0


def test_the_page_has_the_table_and_a_picture_of_each_sort(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    pytest.importorskip("matplotlib")
    from gnutella.lab.plots import tiers_page

    page = tiers_page(tiers(100, 10), list(rows.values()))
    assert page.count("<tr>") == 1 + len(rows)
    assert page.count("<svg") == 2 * len({sort for sort, _ in rows})
