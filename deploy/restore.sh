#!/bin/sh
# Put a backup into a home that is empty or not there:   deploy/restore.sh FOLDER HOME
#
# On a lake LAKE_DATABASE names an empty database (roles.sql makes one) and LAKE_DATA a folder that is not there.
set -eu
umask 077
from=$(cd "$1" && pwd)
(cd "$from" && sha256sum --check --quiet MANIFEST)
[ ! -e "$2" ] || [ -z "$(ls -A "$2")" ] || { echo "$2 is not empty: a restore never goes over a home" >&2; exit 1; }
mkdir -p "$2"
for part in landing policies settings.toml dagster.yaml matching_policy; do
    [ ! -e "$from/$part" ] || cp -R "$from/$part" "$2/"
done
if [ -n "${LAKE_DATABASE:-}" ]; then
    pg_restore --dbname="$LAKE_DATABASE" --no-owner --exit-on-error --single-transaction "$from/catalogue.dump"
    [ ! -d "$from/data" ] || { [ ! -e "${LAKE_DATA:?the data path of the lake}" ] && cp -R "$from/data" "$LAKE_DATA"; }
else
    cp "$from/warehouse-readonly.duckdb" "$2/warehouse.duckdb"
    cp "$from/warehouse-readonly.duckdb" "$2/warehouse-readonly.duckdb"
fi
echo "restored to $2. Now prove it:   earnings --home $2 ledger verify --all --head HASH-OF-THE-LAST-CLOSING"
