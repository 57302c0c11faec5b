#!/bin/sh
# plug.t: base models of others, plugged in as a user does: a shared library (examples/plugin_bm25.c) and
# an inference server (the stub of test_remote, which then dies). model add, predict, serve, changed
# library. TAP on stdout.
medley=${MEDLEY:-build/release/medley}
build=$(cd "$(dirname "$medley")" && pwd)
work=$(mktemp -d /tmp/medley-e2e-XXXXXX)
stub=
server=
trap 'exec 9>&-; kill $stub $server 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1
n=0
failed=0

ok() { # ok STATUS NAME
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        failed=$((failed + 1))
        sed 's/^/# /' err 2>/dev/null | tail -5
    fi
}

if ! [ -x "$build/tests/test_remote" ]; then
    echo "ok 1 - # skip tests/test_remote, which holds the inference server, is not built"
    echo "1..1"
    exit 0
fi
mkfifo lives
"$build/tests/test_remote" serve 4 <lives >port 2>stub.log &
stub=$!
exec 9>lives # the stub ends with its standard input
while ! [ -s port ] && kill -0 $stub; do sleep 0.05; done
port=$(cat port)
[ -n "$port" ]
ok $? "an inference server listens"

"$medley" synth --products 150 --queries 60 --seed 3 -o shop 2>err
ok $? "synth writes a shop"
mkdir ws
awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "example_id") c = i; print "example_id,p_E,p_S,p_C,p_I"}
    NR > 1 {print $c ",0.4,0.2,0.2,0.2"}' shop/examples.csv >ws/flat.csv
cat >ws/medley.yaml <<EOF
data: {examples: ../shop/examples.csv, products: ../shop/products.csv}
models:
  - {name: flat, kind: table, predictions: flat.csv}
stacking: {folds: 2, seed: 5}
ensemble: {rounds: 20, num_leaves: 5}
EOF
"$medley" run -C ws >out 2>err
ok $? "a workspace runs"

"$medley" model add name=bm25 kind=plugin library="$build/examples/plugin_bm25.so" 'settings={k1: 1.5}' \
    -C ws >out 2>err
ok $? "model add of a plugin"
grep -q 'Verdict on bm25' out
ok $? "and its verdict"
"$medley" model try name=bad kind=plugin library="$build/examples/plugin_bm25.so" 'settings={k2: 1}' \
    -C ws >out 2>err
[ $? -eq 1 ] && grep -q 'settings: k1, b' err
ok $? "a setting that it does not know: its own words are shown"

cat >served.yaml <<EOF
name: served
kind: remote
url: "http://127.0.0.1:$port"
output: p
inputs: {text: "{query} | {title}"}
retries: 1
backoff_ms: 1
breaker_failures: 2
EOF
"$medley" model try name=served kind=remote url=http://127.0.0.1:1 retries=0 "inputs={text: '{query}'}" \
    -C ws >out 2>err
[ $? -eq 1 ] && grep -q "127.0.0.1:1/" err
ok $? "a server that is not there, too"

"$medley" model add served.yaml -C ws >out 2>err && grep -q 'Verdict on served' out
ok $? "model add of a remote model"
"$medley" model pin served -C ws >out 2>err && "$medley" model pin bm25 -C ws >out 2>err &&
    "$medley" run -C ws >out 2>err
ok $? "both are kept"
grep -q 'asked for' err
[ $? -ne 0 ]
ok $? "and nobody is asked or trained again"
{ echo query,product_id,product_locale; sed -n 2,9p shop/examples.csv | cut -d, -f2,4,5; } >pairs.csv
"$medley" predict -C ws --pairs pairs.csv -o out 2>err && [ "$(wc -l <out)" -eq 9 ]
ok $? "predict asks both"

: >log
"$medley" serve -C ws --port 0 2>log 9>&- &
server=$!
url=
for wait in $(seq 200); do
    url=$(sed -n 's/^listening on \(http[^ ]*\) .*$/\1/p' log)
    [ -n "$url" ] && break
    sleep 0.05
done
if command -v curl >/dev/null; then
    ask() { # ask TITLE: the answer in ./answer
        curl -s --max-time 20 -H 'Content-Type: application/json' \
            -d "{\"query\": \"red shoe\", \"products\": [{\"title\": \"$1\"}]}" \
            "$url/v1/classify" >answer
    }
    ask 'Red shoe' && grep -q '"models_used":\[[^]]*"bm25"[^]]*"served"' answer
    ok $? "serve asks both"
    exec 9>&- # the inference server ends
    wait $stub
    stub=
    ask 'Blue shoe' && grep -q '"label":"[ESCI]"' answer && grep -q '"models_used":\[[^]]*"bm25"' answer
    ok $? "the inference server dies: an answer all the same"
    grep -q '"models_used":\[[^]]*"served"' answer
    [ $? -ne 0 ]
    ok $? "without it"
fi
kill $server
wait $server
[ $? -eq 0 ]
ok $? "and a clean end"
server=
"$medley" model unpin served -C ws >out 2>err && "$medley" model remove served -C ws >out 2>err
ok $? "model remove needs no server"

echo "1..$n"
[ $failed -eq 0 ]
