#!/bin/sh
# Opens one pack of an Outpost archive with openssl, zstd and tar. Formats: docs/formats-seal.md of Outpost.
#   sh open-by-hand.sh FOLDER TARGET [SHA-256 of the sums]
# FOLDER holds `sums` and the objects that it names, as they lie in the archive under SITE/p/PACK/. TARGET is made; the instances go
# there, the table of contents to TARGET/head. recovery.key and recovery.pem lie beside this script. openssl asks for the passphrase,
# unless PASSIN says where it is (fd:3, file:PATH).
set -eu
umask 077

die() { echo "open-by-hand: $1" >&2; exit 1; }
digest() { set -- "$(openssl dgst -sha256 -r "$1")" && echo "${1%% *}"; }

[ $# -ge 2 ] || die "usage: sh open-by-hand.sh FOLDER TARGET [SHA-256 of the sums]"
folder=$1 target=$2 expected=${3:-}
case $0 in */*) kit=${0%/*} ;; *) kit=. ;; esac
[ -f "$folder/sums" ] || die "$folder/sums is missing"
[ ! -e "$target" ] || die "$target is there already"
[ -z "$expected" ] || [ "$(digest "$folder/sums")" = "$expected" ] || die "these are not the sums that the catalog names"

# Every object is compared before any is opened.
names=
while read -r sum name rest; do
    [ "$sum" != "#" ] || continue
    case ${name%.*} in [0-9][0-9][0-9][0-9][0-9][0-9]) ;; *) die "the sums name $name" ;; esac
    case ${name##*.} in '' | *[!0-9]*) die "the sums name $name" ;; esac
    [ -z "$rest" ] && [ -f "$folder/$name" ] || die "$folder/$name is missing"
    [ "$(digest "$folder/$name")" = "$sum" ] || die "$folder/$name is not what the sums say"
    names="$names $name"
done <"$folder/sums"
[ -n "$names" ] || die "the sums name nothing"

# The opened key stays in memory: a variable, then openssl's standard input.
[ -r "$kit/recovery.key" ] && [ -r "$kit/recovery.pem" ] || die "recovery.key and recovery.pem have to lie beside this script, in $kit"
key=$(openssl pkey -in "$kit/recovery.key" ${PASSIN:+-passin "$PASSIN"} 2>/dev/null) ||
    die "these words do not open recovery.key. Type all eight in their order, in small letters, with one space between two"

mkdir "$target" "$target/head"
for name in $names; do
    # openssl writes before it has checked the tag: what it leaves after a failure is worthless.
    printf '%s\n' "$key" | openssl cms -decrypt -inform DER -in "$folder/$name" \
        -inkey /dev/stdin -recip "$kit/recovery.pem" -binary -out "$target/plain" ||
        { rm -f "$target/plain"; die "$folder/$name does not open with this key"; }
    case $name in 000000*) stream=head ;; *) stream=pack ;; esac
    cat "$target/plain" >>"$target/$stream.tar.zst"
    rm "$target/plain"
done
for stream in head pack; do
    [ -f "$target/$stream.tar.zst" ] || continue
    case $stream in head) place=$target/head ;; *) place=$target ;; esac
    zstd -dcq "$target/$stream.tar.zst" >"$target/$stream.tar" || die "$stream is not whole"
    tar -C "$place" -xf - <"$target/$stream.tar" || die "$stream is not whole"
    rm "$target/$stream.tar.zst" "$target/$stream.tar"
done
echo "open-by-hand: the instances lie in $target"
