#!/bin/sh
# cache.t: labels outlive the server: kill -9 and a warm start; settings from medley.yaml; Redis stopped
# and started under load, and shared by two servers; `medley cache`. MEDLEY is the program to test. TAP on
# stdout.
MEDLEY=${MEDLEY:-build/release/medley}
folder=$(mktemp -d) || exit 1
server= other= redis=
cleanup() {
    for process in $server $other $redis; do
        kill -9 "$process" 2>/dev/null
    done
    rm -rf "$folder"
}
trap cleanup EXIT
n=0
failed=0

ok() { # ok STATUS NAME
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        failed=1
        sed 's/^/# /' "$folder/log" 2>/dev/null | tail -5
        sed 's/^/# /' "$folder/answer" 2>/dev/null | cut -c1-300
    fi
}

if ! command -v curl >/dev/null; then
    echo "ok 1 - no curl"
    echo "# skipped"
    echo "1..1"
    exit 0
fi

"$MEDLEY" synth --products 80 --queries 40 --seed 3 -o "$folder/shop" 2>"$folder/log" &&
    mkdir "$folder/ws" && cat >"$folder/ws/medley.yaml" <<END && "$MEDLEY" run -C "$folder/ws" >"$folder/out" 2>"$folder/log"
data: {examples: ../shop/examples.csv, products: ../shop/products.csv, events: ../shop/events.jsonl}
models:
  - {name: sage, kind: gnn, layer: sage, hidden: 8, epochs: 1}
stacking: {folds: 2, seed: 5}
ensemble: {rounds: 10, num_leaves: 4}
serve: {cache_dir: labels, cache_disk: 8M, precompute: {products: 0}}
END
ok $? 'a shop is trained'

start() { # start LOG ARGUMENTS: its address in $url, its id in $started
    log=$1
    shift
    "$MEDLEY" serve --port 0 "$@" 2>"$log" &
    started=$!
    url=
    for wait in $(seq 400); do
        url=$(sed -n 's/^listening on \(http[^ ]*\) .*/\1/p' "$log")
        [ -n "$url" ] && break
        sleep 0.05
    done
}

classify() { # classify URL QUERY: the answer in $folder/answer
    curl -s --max-time 20 -H 'Content-Type: application/json' "$1/v1/classify" \
        -d "{\"query\": \"$2\", \"products\": [{\"title\": \"Red shoe\"}, {\"title\": \"Blue lamp\"}]}" \
        >"$folder/answer"
}
cached() { # how many pairs of the answer were cached
    grep -o '"cached":true' "$folder/answer" | wc -l
}
metric() { # metric URL NAME: its value
    curl -s "$1/metrics" | grep -F "$2 " | sed 's/.* //'
}

start "$folder/log" -C "$folder/ws"
server=$started
classify "$url" 'red shoe'
[ "$(cached)" -eq 0 ]
ok $? 'the first time a list is judged'
margins=$(grep -o '"margins":{[^}]*}' "$folder/answer")
classify "$url" 'Red  SHOE' && [ "$(cached)" -eq 2 ]
ok $? 'the second time it is remembered'
classify "$url" 'asked once'
for wait in $(seq 100); do
    [ "$(metric "$url" 'medley_cache_tier_written_total{tier="lmdb"}')" = 2 ] && break
    sleep 0.05
done
[ "$(metric "$url" 'medley_cache_tier_entries{tier="lmdb"}')" = 2 ]
ok $? 'what was asked for twice is on the disk, and nothing else'
"$MEDLEY" cache stats -C "$folder/ws" | grep -q '^2 labels'
ok $? 'medley cache stats sees it while the server runs'
"$MEDLEY" cache clear -C "$folder/ws" >"$folder/out" 2>&1
[ $? -eq 1 ] && grep -q 'used by another process' "$folder/out"
ok $? 'medley cache clear does not touch it'
kill -9 $server
wait $server 2>/dev/null

start "$folder/log" -C "$folder/ws"
server=$started
classify "$url" 'red shoe' && [ "$(cached)" -eq 2 ]
ok $? 'after kill -9 it is still remembered'
[ "$(grep -o '"margins":{[^}]*}' "$folder/answer")" = "$margins" ]
ok $? 'with the same margins'
curl -s "$url/v1/bundle" | grep -q '"name":"lmdb","up":true'
ok $? '/v1/bundle tells of the tier'
classify "$url" 'asked once' && [ "$(cached)" -eq 0 ]
ok $? 'what was asked for once is not'
kill -TERM $server
wait $server
ok $? 'a clean end'
"$MEDLEY" cache clear --cache-dir "$folder/ws/labels" 2>"$folder/out" &&
    grep -q 'labels removed' "$folder/out" &&
    [ "$("$MEDLEY" cache stats --cache-dir "$folder/ws/labels" --json | cut -c1-12)" = '{"entries":0' ]
ok $? 'medley cache clear removes them'
"$MEDLEY" serve -C "$folder/ws" --cache-disk x 2>"$folder/out"
[ $? -eq 2 ] && grep -q 'no size' "$folder/out"
ok $? 'a size that is none'
"$MEDLEY" serve -C "$folder/ws" --port 0 --redis nowhere 2>"$folder/out"
[ $? -eq 1 ] && grep -q 'expected host:port' "$folder/out"
ok $? 'an address that is none'

# ---- Redis ----
if ! command -v redis-server >/dev/null; then
    ok 0 'no redis-server'
    echo "# skipped"
    echo "1..$n"
    exit $failed
fi
start_redis() {
    redis-server --port 0 --unixsocket "$folder/redis" --save '' --appendonly no --dir "$folder" \
        >"$folder/redis.log" 2>&1 &
    redis=$!
    for wait in $(seq 400); do
        grep -q 'eady to accept connections' "$folder/redis.log" && return
        sleep 0.05
    done
    sed 's/^/# /' "$folder/redis.log"
}
wait_up() { # wait_up URL 0|1
    for wait in $(seq 300); do
        [ "$(metric "$1" 'medley_cache_tier_up{tier="redis"}')" = "$2" ] && return 0
        sleep 0.05
    done
    return 1
}
bundle=$folder/ws/bundle/current
start_redis
start "$folder/log" --bundle "$bundle" --redis "$folder/redis"
server=$started first=$url
start "$folder/log2" --bundle "$bundle" --redis "$folder/redis"
other=$started second=$url
wait_up "$first" 1 && wait_up "$second" 1
ok $? 'two servers before one Redis'
classify "$first" 'green hat'
classify "$first" 'green hat'
for wait in $(seq 100); do
    [ "$(metric "$first" 'medley_cache_tier_written_total{tier="redis"}')" = 2 ] && break
    sleep 0.05
done
classify "$second" 'green hat' && [ "$(cached)" -eq 2 ]
ok $? 'what one has judged the other remembers'
kill -9 $redis
wait $redis 2>/dev/null
bad=0
for i in $(seq 20); do
    classify "$second" "list $i" && [ "$(grep -o '"label":"' "$folder/answer" | wc -l)" -eq 2 ] || bad=1
done
[ $bad -eq 0 ] && wait_up "$second" 0
ok $? 'Redis dies: all is answered'
[ "$(grep -c 'serving goes on without' "$folder/log2")" -eq 1 ]
ok $? 'with one warning'
start_redis
wait_up "$second" 1
ok $? 'Redis comes back and is used again'
classify "$second" 'list 1' && [ "$(cached)" -eq 2 ]
ok $? 'labels in memory have outlived it'
kill -TERM $server $other
wait $server && wait $other
ok $? 'both end cleanly'
server= other=
echo "1..$n"
exit $failed
