#!/bin/sh
# fuzz.t: every fuzz target builds, has seeds, and takes them, cut short and changed too; SECURITY.md names it.
# MEDLEY says which build. TAP on stdout.
MEDLEY=${MEDLEY:-build/release/medley}
build=$(dirname "$MEDLEY")
root=$(cd "$(dirname "$0")/../.." && pwd)
n=0
failed=0
for source in "$root"/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    name=${name#fuzz_}
    n=$((n + 1))
    if said=$("$build/fuzz/replay_$name" "$root/fuzz/corpus/$name" 2>&1) && grep -q "\`$name\`" "$root/SECURITY.md"; then
        echo "ok $n - $name: $said"
    else
        echo "not ok $n - $name, which SECURITY.md names"
        echo "$said" | sed 's/^/# /' | tail -40
        failed=1
    fi
done
echo "1..$n"
exit $failed
