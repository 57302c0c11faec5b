#!/bin/sh
# cascade.t: a bundle that answers in stages, from outside: `medley predict` and `medley serve` say the same of
# the same list, with the same models. MEDLEY is the program to test. TAP on stdout.
MEDLEY=${MEDLEY:-build/release/medley}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
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
    fi
}

"$MEDLEY" synth --products 150 --queries 60 --seed 3 -o "$folder/shop" 2>"$folder/log" &&
    mkdir "$folder/ws" && cat >"$folder/ws/medley.yaml" <<YAML && "$MEDLEY" run -C "$folder/ws" >"$folder/out" 2>"$folder/log"
data: {examples: ../shop/examples.csv, products: ../shop/products.csv, events: ../shop/events.jsonl}
models:
  - {name: small, kind: lm, layers: 1, hidden: 32, heads: 2, vocabulary: 400, max_tokens: 32, epochs: 2}
  - {name: sage, kind: gnn, layer: sage, hidden: 16, epochs: 3}
stacking: {folds: 2, seed: 5}
ensemble: {rounds: 30, num_leaves: 5}
budget: {pin: [small, sage]}
decide: {cascade: true, calibrate: true, save: models, cascade_loss: 0.1}
YAML
ok $? 'a shop is trained, and its bundle has a cascade'

# One list: the products of the first query.
query=$(sed -n 2p "$folder/shop/examples.csv" | cut -d, -f2)
awk -F, -v q="$query" 'NR == 1 || $2 == q' "$folder/shop/examples.csv" >"$folder/pairs.csv"
pairs=$(($(wc -l <"$folder/pairs.csv") - 1))
"$MEDLEY" predict -C "$folder/ws" --pairs "$folder/pairs.csv" -o "$folder/staged.csv" --explain 2>"$folder/log"
ok $? 'predict'
grep -q "^cascade: .* of 2 models a pair$" "$folder/log"
ok $? 'says how many models a pair took'
head -n 1 "$folder/staged.csv" | grep -q ',cascade_stage,models_used$'
ok $? 'a column tells the stage, another the models'
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    { for (k = 1; k <= 4; k++) {
          c = substr("ESCI", k, 1)
          sum = $at["base_" c] + $at["contribution_small_" c] + $at["contribution_sage_" c] + $at["contribution_context_" c]
          d = sum - $at["margin_" c]; if (d > 1e-4 || d < -1e-4) exit 1
      }
      if (split($at["models_used"], used, "+") != $at["cascade_stage"]) exit 1 }' "$folder/staged.csv"
ok $? 'contributions of its stage add up; as many models as stages'
awk -F, 'NR > 1 { seen[$(NF - 1)]++ } END { exit seen[1] > 0 ? 0 : 1 }' "$folder/staged.csv"
ok $? 'some pairs stop at the first model'
"$MEDLEY" predict -C "$folder/ws" --pairs "$folder/pairs.csv" -o "$folder/whole.csv" --whole 2>"$folder/log" &&
    ! head -n 1 "$folder/whole.csv" | grep -q cascade_stage
ok $? 'with --whole every model answers'

# An explanation of the first pair, with words and neighbours.
product=$(sed -n 2p "$folder/pairs.csv" | cut -d, -f4)
"$MEDLEY" explain -C "$folder/ws" --query "$query" --product "$product" --whole --html "$folder/why.html" \
    >"$folder/out" 2>"$folder/log"
ok $? 'explain'
grep -q '^words that moved small for or against [ESCI]: ' "$folder/out" && grep -q '^  near the query: ' "$folder/out" &&
    grep -q '^mattered most together: ' "$folder/out" && grep -q '^= margin ' "$folder/out"
ok $? 'words, neighbours, interaction, sums'
grep -q '<h3>Words that moved <code>small</code></h3>' "$folder/why.html" && ! grep -qE 'https?:|<script|<link|@import' "$folder/why.html"
ok $? 'as a page that needs no network'
"$MEDLEY" explain -C "$folder/ws" --query "$query" --product "$product" --whole --json >"$folder/out" 2>"$folder/log" &&
    awk '/"tokens"/ { tokens = 1 }
        tokens && /"output"/ { where = "o" } tokens && /"masked"/ { where = "m" } tokens && /"values"/ { where = "v" }
        tokens && /"E":/ { gsub(/[",]/, ""); sum[where] += $2 }
        END { d = sum["v"] - (sum["o"] - sum["m"]); exit tokens && d < 3e-3 && d > -3e-3 ? 0 : 1 }' "$folder/out"
ok $? 'words sum to the difference from the masked pair'
"$MEDLEY" explain -C "$folder/ws" --query "$query" --product "$product" --list --quick --json >"$folder/out" 2>"$folder/log" &&
    grep -q "\"list_size\": $pairs," "$folder/out" && grep -q '"tokens": null' "$folder/out"
ok $? 'in its list, without words'
stage=$(sed -n 's/^ *"stage": \([0-9]*\),$/\1/p' "$folder/out")
[ "$stage" = "$(sed -n 2p "$folder/staged.csv" | awk -F, '{ print $(NF - 1) }')" ]
ok $? 'at the stage that predict tells'
"$MEDLEY" explain -C "$folder/ws" --query "$query" --title x --list >"$folder/out" 2>"$folder/log"
[ $? -eq 2 ]
ok $? 'a list of a product without an id is wrong usage'

if ! command -v curl >/dev/null; then
    echo "1..$n"
    echo "# skipped the rest: no curl"
    exit $failed
fi
"$MEDLEY" serve -C "$folder/ws" --port 0 2>"$folder/log" &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$folder"' EXIT
url=
for wait in $(seq 200); do
    url=$(sed -n 's/^listening on \(http[^ ]*\) .*$/\1/p' "$folder/log")
    [ -n "$url" ] && break
    sleep 0.05
done
products=$(awk -F, 'NR > 1 { printf "%s\"%s\"", (NR > 2 ? ", " : ""), $4 }' "$folder/pairs.csv")
classify() { # classify MORE: the numbers of the answer, a line for each pair
    curl -s --max-time 20 -H 'Content-Type: application/json' \
        -d "{\"query\": \"$query\", \"products\": [$products]$1}" "$url/v1/classify" >"$folder/answer"
    grep -o '"probabilities":{[^}]*}' "$folder/answer" | grep -o '[0-9.e-]*[,}]' | tr -d '}' |
        tr -d ',' | awk '{ printf "%s%s", $1, (NR % 4 ? " " : "\n") }'
}
of() { # of FILE: the same numbers of a prediction
    awk -F, 'NR > 1 { print $3, $4, $5, $6 }' "$1"
}
same() { # same A B: equal but for how a float is written
    paste -d ' ' "$1" "$2" | awk -v pairs=$pairs 'NF != 8 { exit 1 }
        { for (i = 1; i <= 4; i++) { d = $i - $(i + 4); if (d > 4e-8 || d < -4e-8) exit 1 } }
        END { if (NR != pairs) exit 1 }'
}
classify '' >"$folder/served"
of "$folder/staged.csv" >"$folder/predicted"
same "$folder/served" "$folder/predicted"
ok $? 'served as predicted'
grep -o '"cascade_stage":[0-9]*' "$folder/answer" | cut -d: -f2 >"$folder/stages"
awk -F, 'NR > 1 { print $(NF - 1) }' "$folder/staged.csv" | cmp -s - "$folder/stages"
ok $? 'at the same stages'
classify '' >"$folder/again"
grep -q '"cached":true' "$folder/answer" && cmp -s "$folder/served" "$folder/again" &&
    [ "$(grep -c . "$folder/stages")" -eq "$(grep -o '"cascade_stage":[0-9]*' "$folder/answer" | grep -c .)" ]
ok $? 'and so from the cache'
classify ', "models": ["small", "sage"]' >"$folder/served"
of "$folder/whole.csv" >"$folder/predicted" && same "$folder/served" "$folder/predicted" &&
    ! grep -q cascade_stage "$folder/answer"
ok $? 'all models by name: no cascade, and other cache entries'
curl -s "$url/v1/bundle" | grep -q '"cascade":\["s[a-z]*","s[a-z]*"\],"calibration":"'
ok $? 'the bundle says what it does'
kill -TERM $server
wait $server
echo "1..$n"
exit $failed
