#!/bin/sh
# package.t: the archive of a commit is the same from every clone, holds what a build needs, and `make
# abi` sees what would break programs. MEDLEY is the program to test; needs git. TAP on stdout.
MEDLEY=${MEDLEY:-build/release/medley}
build=$(cd "$(dirname "$MEDLEY")" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
out=$folder/out
n=0
failed=0
unset MAKEFLAGS MAKELEVEL MFLAGS MAKEOVERRIDES SOURCE_DATE_EPOCH

ok() { # ok STATUS NAME
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        failed=1
        sed 's/^/# /' "$out" | tail -5
    fi
}

if ! git -C "$root" rev-parse HEAD >/dev/null 2>&1; then
    echo "ok 1 - # skip not a git checkout"
    echo "1..1"
    exit 0
fi
for clone in a b; do
    git clone -q --no-hardlinks "$root" "$folder/$clone" >"$out" 2>&1 &&
        (umask 0$([ $clone = a ] && echo 22 || echo 77) && cd "$folder/$clone" && make -s dist >"$out" 2>&1)
    ok $? "make dist in clone $clone"
    sleep 1.1 # another second, or a time in the archive would not show
done
cmp "$folder"/a/build/medley-*.tar.gz "$folder"/b/build/medley-*.tar.gz >"$out" 2>&1
ok $? 'both archives have the same bytes'
mkdir "$folder/unpacked"
tar -C "$folder/unpacked" -xzf "$folder"/a/build/medley-*.tar.gz
source=$(echo "$folder"/unpacked/*)
[ -e "$source/debian/control" ] && [ -e "$source/LICENSE" ] && [ -e "$source/src/base/error.c" ] && [ ! -e "$source/build/release" ]
ok $? 'the archive is the source'
version=$("$MEDLEY" --version | sed 's/.* //')
[ "$(basename "$source")" = "medley-$version" ] && grep -q "^medley ($version)" "$source/debian/changelog" &&
    grep -q "^## $version" "$source/CHANGELOG.md"
ok $? "source, debian/changelog and CHANGELOG.md are of version $version"

# ---- abi ----
cd "$folder/a" || exit 1
scripts/abi update "$build/libmedley.so" >"$out" 2>&1 && scripts/abi check "$build/libmedley.so" >"$out" 2>&1 &&
    grep -q 'nothing gone or changed' "$out"
ok $? 'abi: what was just recorded is there'
sed -i 's/^## \([0-9.]*\).*/## \1, 2026-01-01/' CHANGELOG.md
sed -i 's/    unsigned rounds;.*/    size_t rounds;/' include/medley/gbdt.h
! scripts/abi check "$build/libmedley.so" >"$out" 2>&1 && grep -q 'gone or changed: gbdt.h: .*medley_gbdt_options' "$out"
ok $? 'abi: a field of another type is seen'
git checkout -q include
sed -i 's|/\* \[200\] \*/|/* two hundred */|' include/medley/gbdt.h
scripts/abi check "$build/libmedley.so" >"$out" 2>&1
ok $? 'abi: a comment is nobody'"'"'s business'
echo ' medley_was_there@Base 0.1.0' >>debian/libmedley0.symbols
! scripts/abi check "$build/libmedley.so" >"$out" 2>&1 && grep -q 'gone from libmedley.so.0: medley_was_there' "$out"
ok $? 'abi: a function that is gone is seen'
echo "1..$n"
exit $failed
