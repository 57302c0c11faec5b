#!/bin/sh
# serve.t: `medley serve` from outside: what it refuses at the start, and with what status.
# The server itself is tested by tests/test_serve.c. Needs $MEDLEY, the program to test.
MEDLEY=${MEDLEY:-build/release/medley}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
n=0
failed=0

# check NAME STATUS TEXT -- ARGUMENTS: `medley serve ARGUMENTS` exits with STATUS and says TEXT.
check() {
    name=$1 status=$2 text=$3
    shift 4
    timeout 10 "$MEDLEY" serve "$@" >"$folder/out" 2>&1 </dev/null
    got=$?
    n=$((n + 1))
    if [ "$got" = "$status" ] && grep -qF -e "$text" "$folder/out"; then
        echo "ok $n - $name"
    else
        echo "not ok $n - $name"
        echo "# status $got, wanted $status with '$text':"
        sed 's/^/# /' "$folder/out"
        failed=1
    fi
}

check 'help' 0 '--cache-ttl' -- --help
check 'no bundle in the workspace' 1 'bundle/current' -- -C "$folder"
check 'no such bundle' 1 "$folder/none" -- --bundle "$folder/none"
check 'a port that is none' 2 '--port' -- --port 70000
check 'a number with a tail' 2 '--threads' -- --threads 2x
check 'an unknown option' 2 '--help' -- --no-such-option
check 'an argument too many' 2 'unexpected argument' -- shop
echo "1..$n"
exit $failed
