#!/bin/sh
# relations.t: every pair of a layer and a relation as a base model of its own (GCN, GraphSAGE and
# GATv2, each over seven relations of behaviour), and the union, whose layer tells them apart.
# MEDLEY is the program to test. TAP on stdout.
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
        sed 's/^/# /' out err 2>/dev/null | tail -5
    fi
}

"$MEDLEY" synth --products 300 --queries 120 --seed 3 -o shop 2>err
# The synthetic shop sells nothing that is consumed; here every third of its purchases is.
sed -n 's/"action_name":"purchase"/"action_name":"watch"/p' shop/events.jsonl | sed -n 'p;n;n' >more
cat more >>shop/events.jsonl
relations='listing impressions clicks adds purchases consumes co-viewed'
mkdir ws
{
    echo 'data: {examples: ../shop/examples.csv, products: ../shop/products.csv, events: ../shop/events.jsonl}'
    echo 'models:'
    for layer in gcn sage gatv2; do
        for r in $relations; do
            echo "  - {name: $layer-$r, kind: gnn, layer: $layer, relations: [$r], hidden: 8, heads: 2, epochs: 2}"
        done
    done
    echo "  - {name: union, kind: gnn, layer: rgcn, hidden: 8, epochs: 2}"
    echo 'stacking: {folds: 2, seed: 5}'
} >ws/medley.yaml
"$MEDLEY" import -C ws >out 2>err && timeout 120 "$MEDLEY" train -C ws >out 2>err
ok $? '22 graph models are trained'

# The bytes of the probabilities: no two models may give the same.
distinct=$(cksum ws/predictions/*/probabilities.npy 2>/dev/null | awk '{print $1}' | sort -u | wc -l)
trained=$(ls ws/predictions | wc -l)
[ "$trained" -eq 22 ] && [ "$distinct" -eq 22 ]
ok $? "each has predictions of its own ($trained models, $distinct kinds)"
head -c 80 ws/predictions/gatv2-consumes/probabilities.npy | grep -aq '<f4'
ok $? 'which are an array of floats'
seven=$(grep -o '"relations" *: *[0-9]*' ws/models/union/config.json | grep -o '[0-9]*$')
one=$(grep -o '"relations" *: *[0-9]*' ws/models/gcn-clicks/config.json | grep -o '[0-9]*$')
[ "${one:-0}" -eq 1 ] && [ "${seven:-0}" -ge 7 ]
ok $? "one relation for each, $seven for the union"
"$MEDLEY" train -C ws >out 2>err && ! grep -q 'fold-' err
ok $? 'nothing is trained twice'
echo "1..$n"
exit $failed
