#!/bin/sh
# Put a backup into a home that is empty or not there:   deploy/restore.sh FOLDER HOME
#
# On a lake LAKE_DATABASE names an empty database (roles.sql makes one) and LAKE_DATA a folder that is empty or not there. Settings that
# are in the home already stay as they are: in a container they come from outside.
set -eu
umask 077
from=$(cd "$1" && pwd)
(cd "$from" && sha256sum --check --quiet MANIFEST)
empty() { # of anything but the names that follow
    folder=$1
    shift
    for found in $(ls -A "$folder" 2> /dev/null); do
        case " $* " in *" $found "*) ;; *) echo "$folder is not empty: a restore never goes over anything" >&2; exit 1 ;; esac
    done
}
empty "$2" settings.toml dagster.yaml
[ -z "${LAKE_DATABASE:-}" ] || case ${LAKE_DATA:?the data path of the lake} in *://*) ;; *) empty "$LAKE_DATA" ;; esac
mkdir -p "$2"
for part in landing policies settings.toml dagster.yaml matching_policy; do
    [ ! -e "$from/$part" ] || [ -e "$2/$part" ] || cp -R "$from/$part" "$2/"
done
if [ -n "${LAKE_DATABASE:-}" ]; then
    pg_restore --dbname="$LAKE_DATABASE" --no-owner --exit-on-error --single-transaction "$from/catalogue.dump"
    [ ! -d "$from/data" ] || { mkdir -p "$LAKE_DATA" && cp -R "$from/data/." "$LAKE_DATA/"; }
else
    cp "$from/warehouse-readonly.duckdb" "$2/warehouse.duckdb"
    cp "$from/warehouse-readonly.duckdb" "$2/warehouse-readonly.duckdb"
fi
echo "restored to $2. Now prove it:   earnings --home $2 ledger verify --all --head HASH-OF-THE-LAST-CLOSING"
