#!/bin/sh
# A disaster on the bundled sample: pay, close, back up, go on, lose everything, restore, prove, catch up.
#
#     deploy/drill.sh                                               one DuckDB file
#     deploy/drill.sh "host=db dbname=scratch user=me"              a lake with its catalogue there: an empty database of one's own
#
# Ends with exit code 0 only if every creator's earnings and the head of the ledger are what they were before. Works in a temporary folder;
# of the database every table is dropped twice, for the disaster and at the end, so one that has tables at the beginning is refused.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
home=$folder/platform
if [ $# -gt 0 ]; then
    export LAKE_DATABASE="$1" LAKE_DATA="$folder/lake" EARNINGS_WAREHOUSE="ducklake:postgres:$1?data=$folder/lake"
    ask() { psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$LAKE_DATABASE"; }
    tables=$(echo "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'" | ask)
    [ "$tables" = 0 ] || { echo "$1 has $tables tables, which this drill would drop: name an empty database" >&2; exit 1; }
    drop_tables() { echo "SELECT format('DROP TABLE public.%I', tablename) FROM pg_tables WHERE schemaname = 'public' \gexec" | ask; }
    trap 'drop_tables; rm -rf "$folder"' EXIT
fi
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
closing=$(earnings --home "$home" close --through 2026-03-07 --yes --json | python -c 'import json, sys; print(json.load(sys.stdin)["head"])')
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
[ $# -eq 0 ] || { drop_tables && rm -rf "$LAKE_DATA"; }
echo "gone: $home${1:+, every table of the catalogue, every file of the lake}"

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
