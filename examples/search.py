#!/usr/bin/env python3
"""Search from a script: one socket, the console's machine mode, and nothing but the standard library.

    search.py DIR SECONDS WORDS…      DIR is the node's directory; hits are taken for so many SECONDS

Prints one line a hit: size, SHA-1, name.  Exit code 0 with hits, 1 without, 69 when no node answers.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator

SECONDS_OF_SILENCE = 60.0


def replies(directory: str, command: str) -> Iterator[tuple[str, str]]:
    """(status, text) of each reply line to one command; the last one has a status without `-`."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(SECONDS_OF_SILENCE)
        line.connect(os.path.join(directory, "control.sock"))
        # Both lines at once: the node answers in order, also when we have stopped writing.
        line.sendall(b"mode machine\n" + command.encode() + b"\n")
        line.shutdown(socket.SHUT_WR)
        reader = line.makefile(encoding="utf-8", newline="\n")
        for reply in reader:
            if reply.startswith("250 "):
                break  # that is the answer to `mode machine`; what came before it was for people
        for reply in reader:
            yield reply[:4], reply[4:].rstrip("\n")


def main(arguments: list[str]) -> int:
    """The exit code."""
    if len(arguments) < 3:
        print(__doc__, file=sys.stderr)
        return 64
    directory, seconds, *words = arguments
    # A quoted word may hold anything but a line break, and what follows -- is no option.
    quoted = " ".join(json.dumps(word, ensure_ascii=False) for word in words)
    found = 0
    try:
        for status, text in replies(directory, f"search --wait {seconds} -- {quoted}"):
            if status == "250-":
                hit = json.loads(text)
                print(f"{hit['size']:>12}  {hit['urn']}  {hit['name']}")
                found += 1
            elif status.startswith("5") and status != "551 ":
                print(f"search.py: {text}", file=sys.stderr)
                return int(status[:3]) - 500
    except OSError as error:
        print(f"search.py: no node answers in {directory}: {error}", file=sys.stderr)
        return 69
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
