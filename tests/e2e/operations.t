#!/bin/sh
# operations.t: what docs/operations.md and examples/operations promise: the table of metrics is what a server
# has, alerts use metrics that exist and have a section each, systemd takes the unit, and behind nginx, with TLS,
# the death of one of two replicas is not noticed. MEDLEY is the program to test. TAP on stdout.
MEDLEY=${MEDLEY:-build/release/medley}
root=$(cd "$(dirname "$0")/../.." && pwd)
page=$root/docs/operations.md files=$root/examples/operations
folder=$(mktemp -d) || exit 1
pids=
finish() {
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill $pids 2>/dev/null
    wait 2>/dev/null
    rm -rf "$folder"
}
trap finish EXIT
n=0
failed=0

ok() { # ok STATUS NAME
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        failed=1
        sed 's/^/# /' "$folder/out" "$folder/log" 2>/dev/null | tail -12
    fi
}

# ---- what needs no server ----
sed -n 's/^| `\([a-z_]*\)` | \([a-z]*\) |.*/\1 \2/p' "$page" | sort >"$folder/told"
sed -n 's/^ *- alert: //p' "$files/alerts.yaml" | sort >"$folder/alerts"
sed -n 's/^### //p' "$page" | sort >"$folder/sections"
diff "$folder/alerts" "$folder/sections" >"$folder/out"
ok $? 'each alert has a section in docs/operations.md'
grep -o 'medley_[a-z_]*' "$files/alerts.yaml" | sed 's/_\(total\|bucket\|sum\|count\)$//' | sort -u >"$folder/used"
cut -d' ' -f1 "$folder/told" | comm -13 - "$folder/used" >"$folder/out"
[ -s "$folder/used" ] && [ ! -s "$folder/out" ]
ok $? 'alerts use metrics of the table'
for field in alert expr labels annotations; do
    echo "$(grep -c "^ *-* *$field:" "$files/alerts.yaml") $(wc -l <"$folder/alerts") $field"
done >"$folder/out"
awk '$1 != $2 { bad = 1 } END { exit bad }' "$folder/out"
ok $? 'and have an expression, a severity and a text each'
"$MEDLEY" serve --help | sed -n 's/^ .* \{2,\}--\([a-z0-9-]*\).*/\1/p' | sort >"$folder/options"
grep -oh -e ' --[a-z-]*\|"--[a-z-]*' "$files/medley@.service" "$files/Dockerfile" | tr -d ' "-' | sort -u >"$folder/given"
: >"$folder/out"
while read -r given; do
    tr -d - <"$folder/options" | grep -qx "$given" || case $given in
    now | noinstallrecommends | from | system | homedir | createhome | uid) ;;
    *) echo "--$given" >>"$folder/out" ;;
    esac
done <"$folder/given"
[ ! -s "$folder/out" ]
ok $? 'the unit and the Dockerfile give options that exist'
if command -v systemd-analyze >/dev/null; then
    sed "s#/usr/bin/medley#$(realpath "$MEDLEY")#; /^Documentation=/d" "$files/medley@.service" >"$folder/medley@shop.service"
    systemd-analyze verify "$folder/medley@shop.service" >"$folder/out" 2>&1 && [ ! -s "$folder/out" ]
    ok $? 'systemd takes the unit'
else
    ok 0 'skipped: no systemd-analyze here'
fi
if ! command -v curl >/dev/null; then
    echo "1..$n"
    echo "# skipped the rest: no curl"
    exit $failed
fi

# ---- a shop, served ----
"$MEDLEY" synth --products 150 --queries 60 --seed 3 -o "$folder/shop" 2>"$folder/log" &&
    mkdir "$folder/ws" && cat >"$folder/ws/medley.yaml" <<EOF && "$MEDLEY" run -C "$folder/ws" >"$folder/out" 2>"$folder/log"
data: {examples: ../shop/examples.csv, products: ../shop/products.csv, events: ../shop/events.jsonl}
models:
  - {name: graph, kind: gnn, layer: sage, hidden: 8, epochs: 1}
stacking: {folds: 2}
ensemble: {rounds: 10}
budget: {pin: [graph]}
EOF
ok $? 'a small shop'
echo a-token-for-tests-alone-0123456789 >"$folder/token"
chmod 600 "$folder/token"

serve() { # serve NAME [PORT]: a replica; $url is set
    "$MEDLEY" serve -C "$folder/ws" --port "${2:-0}" --threads 1 --admin-token-file "$folder/token" --cache-dir "$folder/$1-labels" \
        --products "$folder/$1-texts" >/dev/null 2>"$folder/$1.log" &
    pid=$!
    pids="$pids $pid"
    url=
    for _ in $(seq 200); do
        url=$(sed -n 's#^listening on \(http://[^ ]*\) .*#\1#p' "$folder/$1.log")
        [ -z "$url" ] || return 0
        sleep 0.05
    done
    cp "$folder/$1.log" "$folder/log"
    return 1
}
product=$(sed -n 's/^\([^,]*\),.*/\1/p' "$folder/shop/products.csv" | sed -n 2p)
body="{\"query\": \"blue lamp\", \"products\": [\"$product\"]}"
classify() { # classify URL CURL-OPTIONS...
    at=$1
    shift
    curl -sS --fail-with-body --max-time 10 "$@" -H 'Content-Type: application/json' -d "$body" "$at/v1/classify"
}

serve first
ok $? 'served'
first=$url first_pid=$pid
classify "$first" >/dev/null &&
    curl -sS --fail-with-body -H "Authorization: Bearer $(cat "$folder/token")" -H 'Content-Type: application/json' \
        -d '{"bundle": "current", "share": 1}' "$first/v1/bundles:shadow" >"$folder/out" &&
    curl -sS "$first/metrics" >"$folder/metrics"
sed -n 's/^# TYPE \([a-z_]*\) \([a-z]*\)$/\1 \2/p' "$folder/metrics" | sort >"$folder/live"
diff "$folder/live" "$folder/told" >"$folder/out" && [ -s "$folder/live" ]
ok $? "the table of docs/operations.md is what /metrics has: $(wc -l <"$folder/live") metrics"
grep -q '^medley_pairs_classified_total{source="bundle"}' "$folder/metrics" &&
    grep -q '^medley_http_requests_total{route="/v1/classify",status="200"}' "$folder/metrics"
ok $? 'with the labels that the alerts look at'

# ---- nginx ----
PATH=$PATH:/usr/sbin
if ! command -v nginx >/dev/null || ! command -v openssl >/dev/null; then
    echo "1..$n"
    echo "# skipped the rest: no nginx, or no openssl"
    exit $failed
fi
serve second
ok $? 'a second replica'
second_port=${url##*:}
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=medley.example.com -keyout "$folder/key.pem" -out "$folder/cert.pem" 2>"$folder/log"
configure() { # configure PORT
    echo "pid $folder/nginx.pid; error_log $folder/nginx.err warn; worker_processes 1; daemon off;"
    [ "$(id -u)" -ne 0 ] || echo "user root;"
    echo "events { } http { client_body_temp_path $folder/t1; proxy_temp_path $folder/t2; fastcgi_temp_path $folder/t3; uwsgi_temp_path $folder/t4; scgi_temp_path $folder/t5;"
    sed "s#127.0.0.1:8080#127.0.0.1:${first##*:}#; s#127.0.0.1:8081#127.0.0.1:$second_port#; s#listen 443#listen 127.0.0.1:$1#
        s#/etc/ssl/medley.pem#$folder/cert.pem#; s#/etc/ssl/private/medley.key#$folder/key.pem#; s#/var/log/nginx/medley.log#$folder/access.log#" "$files/nginx.conf"
    echo "}"
}
configure 10443 >"$folder/nginx.conf"
nginx -t -q -c "$folder/nginx.conf" -e "$folder/nginx.err" >"$folder/log" 2>&1
ok $? 'nginx takes its configuration'
for try in 1 2 3 4 5; do # nginx cannot ask for any free port
    tls=$((10000 + ($$ + try * 1117) % 20000))
    configure $tls >"$folder/nginx.conf"
    nginx -c "$folder/nginx.conf" -e "$folder/nginx.err" >"$folder/log" 2>&1 &
    proxy=$!
    for _ in $(seq 100); do
        [ ! -s "$folder/nginx.pid" ] && kill -0 $proxy 2>/dev/null || break
        sleep 0.05
    done
    ! kill -0 $proxy 2>/dev/null || break
done
pids="$pids $proxy"
front="https://medley.example.com:$tls"
through() {
    classify "$front" --cacert "$folder/cert.pem" --resolve "medley.example.com:$tls:127.0.0.1" "$@"
}
for _ in $(seq 100); do
    through >/dev/null 2>&1 && break
    sleep 0.05
done
through -H 'X-Request-Id: from-outside' -D "$folder/headers" >"$folder/out" 2>&1 && grep -q '"label"' "$folder/out" &&
    grep -qi '^x-request-id: from-outside' "$folder/headers"
ok $? 'an answer through TLS, with the request id of outside'
for path in metrics v1/bundles:rollback v1/products v1/products:invalidate; do
    curl -sS -o /dev/null -w '%{http_code} ' --max-time 10 --cacert "$folder/cert.pem" --resolve "medley.example.com:$tls:127.0.0.1" -X POST -d '{}' "$front/$path"
done >"$folder/out" 2>&1
[ "$(cat "$folder/out")" = '403 403 403 403 ' ]
ok $? 'what changes a replica is not to be had through it'
i=0 bad=0
while [ $i -lt 40 ]; do
    [ $i -ne 10 ] || kill -9 "$first_pid"
    through >"$folder/out" 2>&1 || bad=$((bad + 1))
    i=$((i + 1))
done
[ $bad -eq 0 ]
ok $? "one replica is killed, all 40 requests are answered ($bad were not)"
grep -q '"request_id": "from-outside"' "$folder/access.log"
ok $? 'the access log has the request id'
echo "1..$n"
exit $failed
