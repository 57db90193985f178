"""The table of pitfalls names tests that are there, for each pitfall."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"(?m)^\| (\d+) \| [^|]+ \| ([^|]*)\| ([^|]*)\|$")


def test_each_pitfall_has_its_tests_or_attacks() -> None:
    rows = ROW.findall((ROOT / "docs" / "anonymity.md").read_text())
    assert [int(number) for number, _, _ in rows] == list(range(1, 22))
    for number, tests, attacks in rows:
        names = re.findall(r"`([\w/]+)`", tests)
        assert names or attacks.strip(), number
        for name in names:
            path = ROOT / "tests" / (f"{name}.py" if "/" in name else f"anonymizer/{name}.py")
            assert path.is_file(), name
