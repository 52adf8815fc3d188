#!/bin/sh
# Makes what the two files beside it name: roots, and a certificate each for web and api.
set -eu
cd "${1:-$(dirname "$0")}"

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

key roots.key
openssl req -x509 -new -key roots.key -days 30 -subj "/CN=Example roots" -out roots.pem

for name in web api; do
    key $name.key
    openssl req -new -key $name.key -subj "/CN=$name" -out $name.csr
    printf 'subjectAltName=URI:spiffe://example.org/ns/shop/sa/%s\n' $name > $name.ext
    printf 'basicConstraints=critical,CA:FALSE\n' >> $name.ext
    openssl x509 -req -in $name.csr -CA roots.pem -CAkey roots.key -days 7 \
        -CAcreateserial -extfile $name.ext -out $name.pem 2> /dev/null
    rm $name.csr $name.ext
done
