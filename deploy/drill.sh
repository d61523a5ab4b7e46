#!/bin/sh
# A disaster on the bundled sample: pay, close, back up, go on, lose everything, restore, prove, catch up.   make drill
#
# Ends with exit code 0 only if every creator's earnings and the head of the ledger are what they were before. Works in a temporary
# folder; on a lake if EARNINGS_WAREHOUSE, LAKE_DATABASE and LAKE_DATA (see backup.sh) name an empty one, which it destroys.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
home=$folder/platform
say() { printf '\n== %s\n' "$*"; }
head_of_ledger() { earnings --home "$home" ledger verify --json | python -c 'import json, sys; print(json.load(sys.stdin)["head"])'; }
deliver() { # the files of some days, from whoever keeps them
    for day in "$@"; do
        for table in "$here"/../assets_data/sample/*/"2026-03-$day"; do
            mkdir -p "$home/landing/$(basename "$(dirname "$table")")"
            cp -R "$table" "$home/landing/$(basename "$(dirname "$table")")/"
        done
    done
}
run() { earnings --home "$home" run --from "2026-03-$1" --to "2026-03-$2" > "$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }; }
earned() { earnings --home "$home" query --json "SELECT * FROM creator_earnings ORDER BY ALL"; }

say "a platform: ten days have landed, are paid, and the first week is closed"
deliver 01 02 03 04 05 06 07 08 09 10
run 01 10
closing=$(earnings --home "$home" close --through 2026-03-07 --json | python -c 'import json, sys; print(json.load(sys.stdin)["head"])')
echo "head of the ledger, noted elsewhere: $closing"

say "the nightly backup"
"$here/backup.sh" "$home" "$folder/backup"

say "life goes on: four more days"
deliver 11 12 13 14
run 11 14
before=$(head_of_ledger)
earned > "$folder/before.json"

say "the disaster"
rm -rf "$home"
if [ -n "${LAKE_DATABASE:-}" ]; then
    PGOPTIONS="-c client_min_messages=warning" psql -X -q -v ON_ERROR_STOP=1 -d "$LAKE_DATABASE" -c "DROP SCHEMA public CASCADE" -c "CREATE SCHEMA public"
    rm -rf "${LAKE_DATA:?}"
fi
echo "gone: $home"

say "restore"
"$here/restore.sh" "$folder/backup" "$home"
earnings --home "$home" ledger verify --all --head "$closing"

say "catch up: what landed after the backup is delivered again, and run"
deliver 11 12 13 14
run 11 14
after=$(head_of_ledger)
earned > "$folder/after.json"
cmp "$folder/before.json" "$folder/after.json"
[ "$before" = "$after" ] || { echo "the ledger's head was $before and is $after" >&2; exit 1; }
say "passed: the head of the ledger is $after again, and every creator's earnings are what they were"
