"""The console's history on disk has nothing of what was asked for anonymously."""

from __future__ import annotations

import pytest

from gnutella.control.shell import forget_private

PLAIN = ["status", "search alice", "get 1", "search anonymous tips"]
PRIVATE = [
    "anonymous search bob",
    "publish diary.txt --as arl:own:A,B,1/x",
    "search bob --anonymous relay",
    "get arl:chk:A,B,1",
    "  anonymous get 1",
    "get 1 --anonymous=relay",
]


class Lines:
    """What readline keeps."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = list(lines)

    def get_current_history_length(self) -> int:
        return len(self.lines)

    def get_history_item(self, index: int, /) -> str | None:
        return self.lines[index - 1]

    def remove_history_item(self, pos: int, /) -> None:
        del self.lines[pos]


@pytest.mark.parametrize("order", [PLAIN + PRIVATE, PRIVATE + PLAIN, PRIVATE[:3] + PLAIN + PRIVATE[3:]])
def test_private_lines_are_taken_back_and_others_stay(order: list[str]) -> None:
    history = Lines(order)
    forget_private(history)
    assert history.lines == PLAIN


def test_so_does_that_of_this_python() -> None:
    readline = pytest.importorskip("readline")
    readline.clear_history()
    for line in PRIVATE + PLAIN:
        readline.add_history(line)
    forget_private(readline)
    length = readline.get_current_history_length()
    assert [readline.get_history_item(number + 1) for number in range(length)] == PLAIN
    readline.clear_history()
