#!/bin/sh
# A private authority, and a certificate of PostgreSQL signed by it: what sslmode=verify-full checks.
#
#     deploy/certificates.sh FOLDER [HOST ...]      default host: postgres, its name in compose.yaml
#
# ca.crt is public, and goes to every client. ca.key signs further certificates: move it off the server. An existing authority stays.
set -eu
umask 077
folder=$1
shift
[ $# -gt 0 ] || set -- postgres
names=$(printf ',DNS:%s' "$@")
mkdir -p "$folder"
cd "$folder"
if [ ! -e ca.crt ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=creator-earnings authority" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout ca.key -out ca.crt
fi
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout server.key -out server.csr
printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' "${names#,}" > server.ext
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile server.ext -out server.crt
rm server.csr server.ext
chmod 644 ca.crt server.crt
