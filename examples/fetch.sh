#!/bin/sh
# Search, fetch the first hit, wait until it is done, print where it is.
#
#   fetch.sh WORDS…            GNUTELLA_DIR says which node, as for every gnutella command
#
# Exit codes are those of gnutella: 1 nothing found, 69 no daemon, 75 not done in an hour.
set -eu
gnutella search "$@" --limit 1 --wait "${SECONDS_FOR_HITS:-10}" --json >/dev/null
gnutella get 1 --wait 3600 --json |
    python3 -c 'import json, sys; print([json.loads(row) for row in sys.stdin][-1]["path"])'
