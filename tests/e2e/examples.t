#!/bin/sh
# examples.t: the programs of examples/, which `make` builds with the public headers alone, do what
# they say; there is one for each public header, below 60 lines. MEDLEY is the program to test.
medley=${MEDLEY:-build/release/medley}
build=$(cd "$(dirname "$medley")" && pwd)
medley=$build/medley
examples=$(cd "$(dirname "$0")/../../examples" && pwd)
headers=$(cd "$(dirname "$0")/../../include/medley" && pwd)
work=$(mktemp -d /tmp/medley-examples-XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
n=0
failed=0

ok() { # ok STATUS NAME
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        failed=1
        sed 's/^/# /' out err 2>/dev/null | tail -5
    fi
}
example() { # example NAME [ARGUMENT...]: it ends with 0; its output is in `out`
    program=$1
    shift
    "$build/examples/$program" "$@" >out 2>err
}
value_of() { sed -n "s/^$1: +\{0,1\}\(-\{0,1\}[0-9.]*\).*/\1/p" out; }
holds() { awk "BEGIN {exit !($1)}"; }

: >out
for header in "$headers"/*.h; do
    name=$(basename "$header" .h)
    [ "$name" = plugin ] && name=plugin_overlap
    [ -e "$examples/$name.c" ] && grep -q "\"medley/$(basename "$header")\"" "$examples/$name.c" &&
        [ "$(wc -l <"$examples/$name.c")" -lt 60 ] || echo "$header: no example" >>out
done
[ ! -s out ]
ok $? 'each public header has a short example'

example status && grep -q '^not found$' out && grep -q "'there/is/no/such.model'" out
ok $? 'status: a code and a reason'
example run && grep -q '^threads: 2$' out && grep -q '^stopped: interrupted' out && grep -q '^trained: 20 rounds' out
ok $? 'run: stopped, and again at work'
example gbdt "$work" && [ "$(value_of right)" -gt 950 ] &&
    sed -n 's/.*model.json: \(.*\), from XGBoost.s file \(.*\)/\1 \2/p' out | awk '{exit !(NF == 2 && $1 == $2)}'
ok $? 'gbdt: most rows are right, and the model comes back from XGBoost'"'"'s file'
example shapley && holds "$(value_of bert) > 0 && $(value_of bert) > $(value_of sage)" &&
    sed -n 's/^base \(.*\), margin of class .: \(.*\)/\1 \2/p' out |
    awk -v given="$(value_of bert) $(value_of sage)" \
        '{split(given, v, " "); d = $1 + v[1] + v[2] - $2; exit !(d < 0.002 && d > -0.002)}'
ok $? 'shapley: players and base add up to the margin'
example coalition && holds "$(value_of good) > 0.1 && $(value_of good) == $(value_of twin)" &&
    holds "$(value_of noise) < 0.04 && $(value_of noise) > -0.04" && grep -q ' 7 refits' out
ok $? 'coalition: twins share one worth, noise has none'

"$medley" synth --products 80 --queries 30 --seed 2 -o data 2>err && mkdir shop &&
    cat >shop/medley.yaml <<END
data: {examples: ../data/examples.csv, products: ../data/products.csv}
models:
  - {name: overlap, kind: plugin, library: $build/examples/plugin_overlap.so}
stacking: {folds: 2, seed: 5}
ensemble: {rounds: 20, num_leaves: 5}
END
"$medley" run -C shop >out 2>err
ok $? 'plugin_overlap: a workspace of it alone runs'
query=$(sed -n '2s/^[^,]*,\([^,]*\),.*/\1/p' data/examples.csv)
product=$(sed -n '2s/^\([^,]*\),.*/\1/p' data/products.csv)
example bundle shop/bundle/current "$query" "$product" nobody &&
    grep -q "^$product: [ESCI] 0\.[0-9]*  overlap [+-].*context [+-]" out && grep -q '^nobody: .*(unknown product)' out
ok $? 'bundle: a label, a probability and contributions'
example bundle nowhere q p
[ $? -eq 1 ] && grep -q nowhere err
ok $? 'bundle: a folder that is none is named'

# What it says is another matter: it is trained for an instant.
printf 'data: {examples: ../data/examples.csv, products: ../data/products.csv}\nmodels:\n  - {name: small, kind: lm, layers: 1, hidden: 32, heads: 2, vocabulary: 400, max_tokens: 32, epochs: 1}\nstacking: {folds: 2, seed: 5}\n' >language.yaml
mkdir language && mv language.yaml language/medley.yaml && "$medley" run -C language >out 2>err
example cross_encoder language/models/small "$query" 'Red shoes for men' "$query" &&
    awk '/^Red shoes for men: E / || NR == 2 {s = $0; sub(/.*: E/, "E", s); split(s, v, " ");
         d = v[2] + v[4] + v[6] + v[8] - 1; if (d < 0.003 && d > -0.003) n++} END {exit n != 2}' out
ok $? 'cross_encoder: probabilities of every title'
example cross_encoder language q t
[ $? -eq 1 ] && grep -q language err
ok $? 'cross_encoder: a folder that holds no model is named'
echo "1..$n"
exit $failed
