"""Many kills: a large download whose two ends are killed with SIGKILL at random moments, and what that cost.

    python -m benchmarks.kill9 [--driver services|daemons] [--mib 256] [--kills 30] [--seed 1] [--mib-s 16] [--directory DIR]

With the services driver the ends are two bare transfer services; with the daemons driver two `twistd -n gnutella`, the
download added with `gnutella get` of a magnet link, and no line of either log may tell of a fault.

Prints one JSON line: kills of each side, bytes fetched beyond the file's size as a counting proxy saw them, the bound (one
tree leaf for each kill, there being one source), whether the SHA-1 was right and nothing unfinished was seen in incoming/.
The exit status says whether all of that holds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.live import kill9, kill9_daemons

MIB = 1024 * 1024


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--driver", choices=("services", "daemons"), default="services")
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mib-s", type=int, default=16, help="pace of the upload, 0: none")
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        size = options.mib * MIB + 12345
        # About a second of each round is the restart itself, and two where a whole daemon starts.
        run, restart_s = (kill9.run, 1.0) if options.driver == "services" else (kill9_daemons.run, 2.0)
        longest = max(1.0, 1.5 * options.mib / (options.mib_s or 100) / options.kills + restart_s)
        outcome = run(Path(directory), size, options.kills, options.seed, options.mib_s * 1024, longest)
    is_seen_early = bool(outcome.early) or not outcome.is_clean
    holds = outcome.is_right and not is_seen_early and not outcome.faults and 0 <= outcome.surplus <= outcome.bound
    kills = {f"kills_{side}": count for side, count in outcome.kills.items()}
    print(
        json.dumps(
            {
                "driver": options.driver,
                "size": outcome.size,
                "leaf": outcome.leaf,
                **kills,
                "fetched_twice": outcome.surplus,
                "bound": outcome.bound,
                "sha1_right": outcome.is_right,
                "early_files": outcome.early,
                "faults": outcome.faults,
                "holds": holds,
            }
        )
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
