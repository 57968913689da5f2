#!/bin/sh
# `sq` of Sequoia as a peer of the matrix (tests/openpgp/matrix.rs). See gpg.sh.
set -eu
case $1 in
version) sq --version 2>&1 | head -n 1 ;;
make)
    case $2 in rsa3072) suite=rsa3k ;; *) suite=$2 ;; esac
    sq key generate --userid '<peer@example.test>' --cipher-suite "$suite" --export "$3/key.pgp"
    sq key extract-cert --binary --output "$3/cert.pgp" "$3/key.pgp"
    ;;
seal)
    options="--binary --recipient-cert $3"
    [ "$5" = plain ] || options="$options --signer-key $2/key.pgp"
    if [ "$6" = none ]; then options="$options --compression none"
    else options="$options --compression zlib"; fi
    # It chooses the container by what the certificate says; there is nothing to ask for.
    sq encrypt $options --output "$8" "$7"
    ;;
open)
    if [ "$3" = - ]; then sq decrypt --recipient-key "$2/key.pgp" --output "$5" "$4"; echo unsigned
    else
        sq decrypt --recipient-key "$2/key.pgp" --signer-cert "$3" --signatures 1 --output "$5" "$4"
        echo good
    fi
    ;;
esac
