#!/usr/bin/env python3
"""Follow the node's events and print the path of each download that ends well.

    watch_downloads.py DIR [COUNT]        ends after COUNT downloads; without it, never

NodeClient is the client that the command line uses; `rows` yields one dict for each line of the reply, as it comes.
"""

from __future__ import annotations

import sys

from gnutella.control.client import NodeClient
from gnutella.errors import UserError


def main(arguments: list[str]) -> int:
    """The exit code."""
    directory, *count = arguments
    limit = f" --limit {count[0]}" if count else ""
    try:
        with NodeClient(f"{directory}/control.sock") as node:
            # From the first event on; a script that remembers the last id it saw goes on from there.
            for event in node.rows(f"events --since 0 --follow --type download_finished{limit}", silence_s=None):
                data = event["data"]
                assert isinstance(data, dict)
                print(data["path"], flush=True)
    except UserError as error:
        print(f"watch_downloads.py: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
