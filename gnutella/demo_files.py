"""The dozen small files of the demo: opening lines of books that belong to everybody, and some numbers to fill a download."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Name -> opening lines.  All were published before 1900.
BOOKS = {
    "Alice in Wonderland - Lewis Carroll.txt": "Alice was beginning to get very tired of sitting by her sister on the bank",
    "Through the Looking-Glass - Lewis Carroll.txt": "One thing was certain, that the white kitten had nothing to do with it",
    "Moby Dick or the Whale - Herman Melville.txt": "Call me Ishmael. Some years ago, never mind how long precisely",
    "A Tale of Two Cities - Charles Dickens.txt": "It was the best of times, it was the worst of times",
    "Pride and Prejudice - Jane Austen.txt": "It is a truth universally acknowledged",
    "Frankenstein - Mary Shelley.txt": "You will rejoice to hear that no disaster has accompanied",
    "The Time Machine - H G Wells.txt": "The Time Traveller (for so it will be convenient to speak of him)",
    "Treasure Island - R L Stevenson.txt": "Squire Trelawney, Dr. Livesey, and the rest of these gentlemen",
    "Faust - Goethe.txt": "Ihr naht euch wieder, schwankende Gestalten",
    "Vingt mille lieues sous les mers - Jules Verne.txt": "L'année 1866 fut marquée par un événement bizarre",
    "Don Quijote - Miguel de Cervantes.txt": "En un lugar de la Mancha, de cuyo nombre no quiero acordarme",
}
#: The file that two nodes share and the demo fetches: large enough that both are asked for a part.
LARGE_NAME = "Alice in Wonderland - the annotated numbers.txt"
LARGE_LINES = 60_000


@dataclass(frozen=True)
class DemoFile:
    """One shared file."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name


def write_files(directory: Path, names: Sequence[str]) -> dict[str, list[DemoFile]]:
    """Write the shares of all nodes under DIR/NAME/shared; which node shares what.

    The node that asks shares one book of its own, two others the large file and Alice, the rest of the books go round.
    """
    shares: dict[str, list[DemoFile]] = {name: [] for name in names}
    givers = [name for name in names if name != "edge-1"]
    for number, (title, line) in enumerate(BOOKS.items()):
        owners = ["edge-2", "edge-3"] if title.startswith("Alice") else [givers[number % len(givers)]]
        if title.startswith("Faust"):
            owners = ["edge-1"]
        for owner in owners:
            shares[owner].append(_write(directory, owner, title, f"{line}…\n".encode()))
    large = "".join(f"{n:6d}  {hashlib.sha1(b'%d' % n).hexdigest()}\n" for n in range(LARGE_LINES)).encode()
    for owner in ("edge-2", "edge-3"):
        shares[owner].append(_write(directory, owner, LARGE_NAME, large))
    return shares


def _write(directory: Path, owner: str, name: str, content: bytes) -> DemoFile:
    shared = directory / owner / "shared"
    shared.mkdir(parents=True, exist_ok=True)
    path = shared / name
    path.write_bytes(content)
    return DemoFile(path)
