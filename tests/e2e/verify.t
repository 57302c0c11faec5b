#!/bin/sh
# verify.t: `medley gnn verify` over several folders: all are compared, whichever fails.
# MEDLEY is the program to test; recordings are in ../shared/data. TAP on stdout.
MEDLEY=${MEDLEY:-build/release/medley}
golden=../shared/data/golden/gnn
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
out=$folder/out err=$folder/err
n=0
failed=0

ok() { # ok STATUS NAME
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        failed=1
        sed 's/^/# /' "$out" "$err" | tail -5
    fi
}

"$MEDLEY" gnn verify >"$out" 2>"$err"
[ $? -eq 2 ] && grep -q 'expected a folder' "$err"
ok $? 'no folder: wrong usage'
"$MEDLEY" gnn verify "$folder/a" "$folder/b" >"$out" 2>"$err"
[ $? -eq 1 ] && [ "$(grep -c 'cannot open' "$err")" -eq 2 ] && grep -q '^0 of 2 folders agree' "$out"
ok $? 'two that are not there: both are told'
if [ -d "$golden" ]; then
    "$MEDLEY" gnn verify "$golden"/* >"$out" 2>"$err" && grep -q '^\([0-9]*\) of \1 folders agree' "$out"
    ok $? 'every recording agrees'
    "$MEDLEY" gnn verify --json "$folder/a" "$golden/gcn" >"$out" 2>"$err"
    [ $? -eq 1 ] && grep -q '"passed": false' "$out" && grep -q '"name": "logits"' "$out"
    ok $? 'one of two: exit status 1, and the other compared'
else
    ok 0 'skipped: no recordings here'
fi
echo "1..$n"
exit $failed
