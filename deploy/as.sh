#!/bin/sh
# The command line in the container, in the name of whoever is logged in on this machine, which is what the ledger keeps:
#
#     deploy/as.sh close --through 2026-03-31
set -eu
who=${EARNINGS_ACTOR:-${SUDO_USER:-$(id -un)}@$(hostname)}
exec docker compose -f "$(dirname "$0")/compose.yaml" exec --env "EARNINGS_ACTOR=$who" workers earnings "$@"
