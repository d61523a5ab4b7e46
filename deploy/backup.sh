#!/bin/sh
# Copy what a platform cannot make again into a new folder:   deploy/backup.sh HOME FOLDER
#
# The warehouse's published copy is consistent at any moment, also while a run writes. On a lake it is the catalogue that must be; then
# follow its data files, which never change and which nothing but `earnings prune` removes: do not prune while this runs.
set -eu
umask 077
home=$(cd "$1" && pwd)
[ ! -e "$2" ] || { echo "$2 is there already: a backup never goes over another" >&2; exit 1; }
mkdir -p "$2.partial"
target=$(cd "$2.partial" && pwd)
if [ -n "${LAKE_DATABASE:-}" ]; then # the lake's catalogue, as libpq names it: "host=... dbname=earnings user=..."
    pg_dump --dbname="$LAKE_DATABASE" --format=custom --no-owner --file="$target/catalogue.dump"
    case ${LAKE_DATA:?the data path of the lake} in
    *://*) echo "catalogue saved; copy $LAKE_DATA with the tool of your object store (versioning on), after this point in time" >&2 ;;
    *) cp -R "$LAKE_DATA" "$target/data" ;;
    esac
else
    cp "$home/warehouse-readonly.duckdb" "$target/"
fi
# Last: what the warehouse was made from is in landing/ by then, and what lands meanwhile is loaded by the next run.
for part in landing policies settings.toml dagster.yaml matching_policy; do
    [ ! -e "$home/$part" ] || cp -R "$home/$part" "$target/"
done
(cd "$target" && find . -type f ! -name MANIFEST -exec sha256sum {} + | sort -k 2 > MANIFEST)
mv "$2.partial" "$2"
echo "$2: $(wc -l < "$2/MANIFEST") files, $(du -sh "$2" | cut -f 1)"
