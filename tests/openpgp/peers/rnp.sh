#!/bin/sh
# RNP, which Thunderbird has inside, as a peer of the matrix (tests/openpgp/matrix.rs). See gpg.sh.
set -eu
case $1 in
version) rnp --version 2>&1 | head -n 1 ;;
make)
    case $2 in
        rsa3072) printf '1\n3072\n' ;;
        # Signatures by Ed25519; the subkey by Curve25519.
        cv25519) printf '22\n1\n' ;;
        # It would ask for ever.
        *) echo 'RNP makes no keys of version 6' >&2; exit 1 ;;
    esac >"$3/answers"
    rnpkeys --homedir "$3" --generate-key --expert --notty --userid '<peer@example.test>' --password '' <"$3/answers"
    rnpkeys --homedir "$3" --export-key --notty '<peer@example.test>' --output "$3/cert.asc"
    rnp --dearmor --output "$3/cert.pgp" "$3/cert.asc"
    ;;
seal)
    rnpkeys --homedir "$2" --import-keys "$3" >/dev/null
    options="--encrypt --recipient mailbox@example.test"
    [ "$5" = plain ] || options="$options --sign --userid peer@example.test"
    if [ "$6" = none ]; then options="$options -z 0"; else options="$options --zlib -z 6"; fi
    [ "$4" = v1 ] || options="$options --aead=OCB"
    rnp --homedir "$2" --notty --password '' $options --overwrite --output "$8" "$7"
    ;;
open)
    [ "$3" = - ] || rnpkeys --homedir "$2" --import-keys "$3" >/dev/null
    said=$(rnp --homedir "$2" --notty --password '' --decrypt --overwrite --output "$5" "$4" 2>&1) || {
        echo "$said" >&2; exit 1; }
    case $said in *'Good signature'*) echo good ;; *ignature*) echo bad ;; *) echo unsigned ;; esac
    ;;
esac
