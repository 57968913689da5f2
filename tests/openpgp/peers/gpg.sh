#!/bin/sh
# GnuPG as a peer of the matrix (tests/openpgp/matrix.rs): `gpg.sh version`, `make KIND FOLDER`,
# `seal FOLDER CERTIFICATE v1|aead signed|plain compressed|none IN OUT`, `open FOLDER SIGNER IN OUT`.
set -eu
PROGRAM=${GPG:-gpg}
run() { "$PROGRAM" --homedir "$HOME_FOLDER" --batch --quiet --no-tty --yes --trust-model always \
    --pinentry-mode loopback --passphrase '' "$@"; }
case $1 in
version) "$PROGRAM" --version | head -n 1 ;;
make)
    HOME_FOLDER=$3
    chmod 700 "$3"
    case $2 in
        rsa3072) sign=rsa3072 encrypt=rsa3072 ;;
        cv25519) sign=ed25519 encrypt=cv25519 ;;
        v6) echo "GnuPG makes no keys of version 6" >&2; sign=v6 encrypt=v6 ;;
    esac
    run --quick-generate-key '<peer@example.test>' $sign sign,cert never
    fingerprint=$(run --with-colons --list-keys | awk -F: '$1 == "fpr" { print $10; exit }')
    run --quick-add-key "$fingerprint" $encrypt encr never
    run --export >"$3/cert.pgp"
    ;;
seal)
    HOME_FOLDER=$2
    options="--encrypt --recipient-file $3"
    [ "$5" = plain ] || options="$options --sign"
    if [ "$6" = none ]; then options="$options --compress-algo none"
    else options="$options --compress-algo zlib"; fi
    # GnuPG 2.4 has this one, for the packet of LibrePGP; 2.2 does not.
    [ "$4" = v1 ] || options="$options --force-ocb"
    run $options --output "$8" "$7"
    ;;
open)
    HOME_FOLDER=$2
    [ "$3" = - ] || run --import "$3"
    said=$(run --status-fd 1 --output "$5" --decrypt "$4")
    case $said in *' GOODSIG '*) echo good ;; *SIG*) echo bad ;; *) echo unsigned ;; esac
    ;;
stop) "$(dirname "$(command -v "$PROGRAM")")/gpgconf" --homedir "$2" --kill all ;;
esac
