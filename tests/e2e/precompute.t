#!/bin/sh
# precompute.t: `medley precompute` from outside: what it refuses; embeddings made again, with
# nothing to do and after new events; the same bytes as from nothing; a server that runs
# meanwhile; a run that is killed. MEDLEY is the program to test. TAP on stdout.
MEDLEY=${MEDLEY:-build/release/medley}
case $MEDLEY in /*) ;; *) MEDLEY=$PWD/$MEDLEY ;; esac
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
n=0
failed=0

ok() { # ok STATUS NAME
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        failed=1
        sed 's/^/# /' out err log 2>/dev/null | tail -20
    fi
}

refused() { # refused NAME STATUS TEXT -- ARGUMENTS
    name=$1 status=$2 text=$3
    shift 4
    timeout 20 "$MEDLEY" precompute "$@" >out 2>err </dev/null
    [ $? -eq "$status" ] && grep -qF -e "$text" err
    ok $? "$name"
}

precompute() {
    timeout 60 "$MEDLEY" precompute "$@" >out 2>err
}

store=bundle/current/embeddings/sage.bin
same() { # the contents behind the header, which has the times
    cmp -s -i 192 "$1" "$2"
}

"$MEDLEY" synth --products 300 --queries 120 --seed 3 -o shop 2>err
head -n -40 shop/events.jsonl >shop/first.jsonl
cp shop/first.jsonl shop/log.jsonl
mkdir ws && cat >ws/medley.yaml <<EOF
data: {examples: ../shop/examples.csv, products: ../shop/products.csv, events: ../shop/log.jsonl}
models:
  - {name: small, kind: gnn, layer: gcn, relations: [listing], hidden: 8, epochs: 1}
  - {name: sage, kind: gnn, layer: sage, hidden: 16, epochs: 1}
stacking: {folds: 2, seed: 5}
ensemble: {rounds: 20, num_leaves: 5}
budget: {pin: [sage, small]}
serve: {precompute: {products: 200, queries: 100}}
EOF
refused 'no workspace' 1 'no medley.yaml' -- -C none
refused 'no bundle' 1 "no bundle at 'ws/bundle/current'" -- -C ws
"$MEDLEY" run -C ws >out 2>err
ok $? 'a shop is trained'
first=$(readlink ws/bundle/current)
refused 'a number that is none' 2 '--top-products' -- -C ws --top-products many
refused 'none at all' 2 '--top-queries' -- -C ws --top-queries 0
refused 'all and a number' 2 '--all' -- -C ws --all --top-queries 5
refused 'an argument too many' 2 "unexpected argument 'shop'" -- shop
refused 'an unknown model' 1 "no graph model 'huge'" -- -C ws --model huge
refused 'an unknown relation' 1 "reads 'gossip'" -- -C ws --relation gossip
refused 'a relation the model does not read' 1 "reads 'clicks'" -- -C ws --model small --relation clicks

# Again with nothing new.
cp -L ws/$store made_by_select
precompute -C ws --json && grep -q '"data_changed": false' out &&
    [ "$(grep -c '"recomputed": 0' out)" -eq 6 ] && grep -q '"largest_difference": 0,' out
ok $? 'nothing has changed: nothing is computed'
[ "$(readlink ws/bundle/current)" = "$first" ] && same made_by_select ws/$store
ok $? 'the same bundle, the same bytes'
precompute -C ws --all --json --relation clicks && ! grep -q '"name": "small"' out &&
    grep -A3 '"products": {' out | grep -q '"stored": 300' &&
    grep -A3 '"products": {' out | grep -q '"skipped": 200'
ok $? 'all of them, of the model that reads clicks: those there were are copied'
rm ws/$store
precompute -C ws --all --json --model sage && grep -A3 '"products": {' out | grep -q '"skipped": 0'
ok $? 'without the file all are computed'
precompute -C ws --all --float16 && grep -q 'float16' out
ok $? 'float16'
precompute -C ws --all && grep -q 'sage  float32' out && grep -q 'from the live path over 100 pairs: 0$' out
ok $? 'and float32 again'
printf x | dd of=ws/$store bs=1 seek=3000 conv=notrunc 2>/dev/null
precompute -C ws && grep -q 'everything is computed anew: .*the contents were altered' err
ok $? 'a damaged file is told of, and replaced'

# New events, while a server runs.
serve=
if command -v curl >/dev/null; then
    "$MEDLEY" serve -C ws --port 0 2>log &
    serve=$!
    trap 'kill $serve 2>/dev/null; rm -rf "$folder"' EXIT
    url=
    for wait in $(seq 200); do
        url=$(sed -n 's/^listening on \(http[^ ]*\) (bundle .*)$/\1/p' log)
        [ -n "$url" ] && break
        sleep 0.05
    done
fi
cp shop/events.jsonl shop/log.jsonl
refused 'data that was not imported' 1 'medley run' -- -C ws
"$MEDLEY" import -C ws >out 2>err
refused 'one model for new data' 1 'leave out --model' -- -C ws --model sage
cp -r ws nothing # the same from nothing
rm -f nothing/bundle/current/embeddings/*
precompute -C ws --all --json && grep -q '"data_changed": true' out &&
    [ "$(readlink ws/bundle/current)" != "$first" ] && [ -e "ws/bundle/$first/$(basename $store)" -o -d "ws/bundle/$first/embeddings" ]
ok $? 'new events: a new bundle beside the old one'
awk '/"(queries|products|pairs)": \{/ { getline; getline; gsub(/[^0-9]/, ""); made += $0; getline; gsub(/[^0-9]/, ""); skipped += $0 }
    END { print "# " made " recomputed, " skipped " skipped"; exit !(made > 0 && skipped > 0) }' out
ok $? 'some are computed, some are not'
precompute -C nothing --all && [ "$(readlink ws/bundle/current)" = "$(readlink nothing/bundle/current)" ] &&
    same ws/$store nothing/$store && same ws/bundle/current/embeddings/small.bin nothing/bundle/current/embeddings/small.bin
ok $? 'the same bytes as from nothing'
if [ -n "$serve" ]; then
    age=$(curl -s "$url/metrics" | sed -n 's/^medley_embeddings_graph_age_seconds{model="sage"} //p')
    [ -n "$age" ]
    ok $? "the age of the graph is a metric ($age s)"
    kill -HUP $serve
    for wait in $(seq 200); do
        grep -q 'answers now' log && break
        sleep 0.05
    done
    curl -s "$url/v1/bundle" | grep -q "\"id\":\"$(readlink ws/bundle/current)\""
    ok $? 'the server takes the new one when it is told'
    pair=$(sed -n 2p shop/examples.csv)
    curl -s -H 'Content-Type: application/json' "$url/v1/classify" -d "{\"query\": \"$(echo "$pair" | cut -d, -f2)\", \"locale\": \"$(echo "$pair" | cut -d, -f5)\", \"products\": [\"$(echo "$pair" | cut -d, -f4)\"]}" >out
    grep -q '"pairs_precomputed":1,"embeddings_age_s":[0-9]' out
    ok $? 'and answers say how old the graph is'
    curl -s -H 'Content-Type: application/json' "$url/v1/classify" -d "{\"query\": \"never asked before\", \"locale\": \"$(echo "$pair" | cut -d, -f5)\", \"products\": [\"$(echo "$pair" | cut -d, -f4)\"]}" >out
    grep -q '"pairs_precomputed":1,' out
    ok $? 'a new query of stored products uses them too'
    # in place, under the server
    precompute -C ws --all --float16 && kill -HUP $serve
    for wait in $(seq 200); do
        [ "$(grep -c 'answers now' log)" -eq 2 ] && break
        sleep 0.05
    done
    curl -s "$url/v1/bundle" | grep -q '"numbers":"float16"'
    ok $? 'embeddings replaced in the bundle that answers'
    kill -TERM $serve
    wait $serve
    ok $? 'the server ends'
    precompute -C ws --all
fi

# Killed at any time: the old files, or the new ones, whole; and the next run ends as it should.
good=0 tries=0
for delay in 0.01 0.02 0.04 0.06 0.1 0.15; do
    rm -f ws/bundle/current/embeddings/small.bin
    "$MEDLEY" precompute -C ws --all >out 2>err &
    pid=$!
    sleep $delay
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    tries=$((tries + 1))
    same ws/$store nothing/$store && good=$((good + 1))
done
[ $good -eq $tries ]
ok $? "killed $tries times: whole files"
precompute -C ws --all && same ws/$store nothing/$store && [ -z "$(find ws/bundle/current/embeddings/ -name '*.tmp.*')" ]
ok $? 'the next run ends as if nothing had been'
cp shop/first.jsonl shop/log.jsonl
"$MEDLEY" import -C ws >out 2>err
now=$(readlink ws/bundle/current)
"$MEDLEY" precompute -C ws --all >out 2>err &
pid=$!
sleep 0.03
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
precompute -C ws --all && [ "$(readlink ws/bundle/current)" = "$first" ] && [ "$now" != "$first" ]
ok $? 'the first data again: the first bundle again'

echo "1..$n"
exit $failed
