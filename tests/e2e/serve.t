#!/bin/sh
# serve.t: `medley serve` from outside: what it refuses at the start, and with what status; then a small
# shop, served: a label, the same from the cache, a clean end. The server's details are tested by
# tests/test_serve.c. MEDLEY is the program to test. TAP on stdout.
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

ok() { # ok STATUS NAME
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        failed=1
        sed 's/^/# /' "$folder/log" 2>/dev/null | tail -5
    fi
}

classify() { # classify BODY: the answer in $folder/answer
    curl -s --max-time 20 -H 'Content-Type: application/json' -d "$1" "$url/v1/classify" \
        >"$folder/answer"
}

if ! command -v curl >/dev/null; then
    echo "1..$n"
    echo "# skipped the rest: no curl"
    exit $failed
fi

"$MEDLEY" synth --products 150 --queries 60 --seed 3 -o "$folder/shop" 2>"$folder/log" &&
    mkdir "$folder/ws" && cat >"$folder/ws/medley.yaml" <<EOF && "$MEDLEY" run -C "$folder/ws" >"$folder/out" 2>"$folder/log"
data: {examples: ../shop/examples.csv, products: ../shop/products.csv, events: ../shop/events.jsonl}
models:
  - {name: small, kind: lm, layers: 1, hidden: 32, heads: 2, vocabulary: 400, max_tokens: 32, epochs: 2}
  - {name: sage, kind: gnn, layer: sage, hidden: 16, epochs: 3}
stacking: {folds: 2, seed: 5}
ensemble: {rounds: 30, num_leaves: 5}
budget: {pin: [sage]}
EOF
ok $? 'a shop is trained'

"$MEDLEY" serve -C "$folder/ws" --port 0 2>"$folder/log" &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$folder"' EXIT
url=
for wait in $(seq 200); do
    url=$(sed -n 's/^listening on \(http[^ ]*\) (bundle [0-9a-f]\{32\})$/\1/p' "$folder/log")
    [ -n "$url" ] && break
    sleep 0.05
done
[ -n "$url" ]
ok $? 'one line says where it listens'

list='{"query": "red shoe", "products": [{"title": "Red running shoe"}, "no such id"]'
classify "$list, \"explain\": true}" && grep -q '"label":"[ESCI]"' "$folder/answer"
ok $? 'pairs get labels'
grep -q '"base":{' "$folder/answer" && grep -q '"contributions":{' "$folder/answer"
ok $? 'and reasons'
grep -q '"known_product":true' "$folder/answer" && grep -q '"known_product":false' "$folder/answer"
ok $? 'an unknown id is said to be one'
fresh=$(grep -o '"margins":{[^}]*}' "$folder/answer")
classify "$list}" && [ "$(grep -o '"cached":true' "$folder/answer" | wc -l)" -eq 2 ]
ok $? 'the second time they come from the cache'
[ -n "$fresh" ] && [ "$(grep -o '"margins":{[^}]*}' "$folder/answer")" = "$fresh" ]
ok $? 'with the same margins'

curl -s "$url/v1/ensemble" >"$folder/answer" && grep -q '"worth"' "$folder/answer" &&
    grep -q '"subsets"' "$folder/answer" && grep -q "^{\"bundle\":\"$(readlink "$folder/ws/bundle/current")\"" "$folder/answer"
ok $? 'how the ensemble was chosen'
curl -s "$url/page.js" >"$folder/plain" && curl -s --compressed "$url/page.js" | cmp -s - "$folder/plain" &&
    curl -s "$url/" | grep -q '<script src="page.js" defer></script>'
ok $? 'the dashboard'

curl -s "$url/v1/models" | grep -q '"name":"small","kind":"lm","latency":{"lists":1,"p50_ms":[0-9.e-]*,"p99_ms"'
ok $? 'what a model took for its one list'

# A listed pair by its id, and a product the query does not list: both were made ahead.
pair=$(sed -n 2p "$folder/shop/examples.csv")
echo "# $pair"
query=$(echo "$pair" | cut -d, -f2) product=$(echo "$pair" | cut -d, -f4)
other=$(sed -n '$p' "$folder/shop/examples.csv" | cut -d, -f4)
known="{\"query\": \"$query\", \"products\": [\"$product\", \"$other\"]"
classify "$known}" && grep -q '"pairs_precomputed":2,' "$folder/answer"
ok $? 'frequent pairs are answered from embeddings made ahead'
[ "$(grep -o '"models_precomputed":\["sage"\]' "$folder/answer" | wc -l)" -eq 2 ]
ok $? 'by the graph model'
ahead=$(grep -o '"margins":{[^}]*}' "$folder/answer")
classify "$known}" && grep -q '"pairs_precomputed":0,' "$folder/answer"
ok $? 'from the cache none is'
curl -s "$url/metrics" | grep -qx 'medley_pairs_precomputed_total 2'
ok $? 'metrics count them'
curl -s "$url/v1/bundle" | grep -q '"precomputed":{"queries":60,"products":150,'
ok $? 'the bundle says what it holds'
classify '{"query": "", "products": ["x"]}' && grep -q '{"error":"query: blank"}' "$folder/answer"
ok $? 'a bad request is told why'
curl -s "$url/metrics" | tail -n 1 | grep -qx '# EOF'
ok $? 'metrics end as they should'
timeout 20 "$MEDLEY" serve -C "$folder/ws" --port "${url##*:}" >"$folder/out" 2>&1
[ $? -eq 1 ] && grep -q 'Address already in use' "$folder/out"
ok $? 'a second server on the same port fails and says so'
kill -HUP $server
for wait in $(seq 200); do
    grep -q 'answers now, after [1-9][0-9]* requests to warm it' "$folder/log" && break
    sleep 0.05
done
classify "$known}" && grep -q 'answers now, after' "$folder/log" &&
    [ "$(grep -o '"margins":{[^}]*}' "$folder/answer")" = "$ahead" ]
ok $? 'SIGHUP opens the bundle anew, and it answers the same'
kill -TERM $server
wait $server
ok $? 'SIGTERM ends it with status 0'
grep -q '"path":"/v1/classify","status":200' "$folder/log"
ok $? 'the log has its requests'

# The same without them; and with a file that was damaged.
real=$(readlink -f "$folder/ws/bundle/current")
cp -r "$real" "$folder/live" && rm -r "$folder/live/embeddings"
"$MEDLEY" serve --bundle "$folder/live" --port 0 2>"$folder/log" &
server=$!
for wait in $(seq 200); do
    url=$(sed -n 's/^listening on \(http[^ ]*\) (bundle live)$/\1/p' "$folder/log")
    [ -n "$url" ] && break
    sleep 0.05
done
classify "$known}" && grep -q '"pairs_precomputed":0,' "$folder/answer"
ok $? 'a bundle without them answers too'
[ -n "$ahead" ] && [ "$(grep -o '"margins":{[^}]*}' "$folder/answer")" = "$ahead" ]
ok $? 'with the same margins'
kill -TERM $server
wait $server
cp -r "$real" "$folder/bad" && printf 'x' |
    dd of="$folder/bad/embeddings/sage.bin" bs=1 seek=5000 conv=notrunc 2>/dev/null
timeout 20 "$MEDLEY" serve --bundle "$folder/bad" --port 0 >"$folder/out" 2>&1
[ $? -eq 1 ] && grep -q 'sage.bin: precomputed embeddings: the contents were altered' "$folder/out"
ok $? 'a damaged file is refused at the start'

rm -r "$folder/bad"
cp -r "$real" "$folder/bad" && rm "$folder/bad/about/selection.json" &&
    printf '{"selected": [' >"$folder/bad/about/selection.json"
timeout 20 "$MEDLEY" serve --bundle "$folder/bad" --port 0 >"$folder/out" 2>&1
[ $? -eq 1 ] && grep -q 'about/selection.json:' "$folder/out"
ok $? 'so is what tells nothing of how it was chosen'

echo "1..$n"
exit $failed
