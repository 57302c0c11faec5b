#!/bin/sh
# workspace.t: the main job as a user sees it, on a small synthetic shop: init, run, status, predict,
# explain, bad input, in-sample tables, and the same numbers after kill -9. TAP on stdout.
medley=${MEDLEY:-build/release/medley}
docs=$(cd "$(dirname "$0")/../../docs" && pwd)
work=$(mktemp -d /tmp/medley-e2e-XXXXXX)
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
        failed=$((failed + 1))
        sed 's/^/# /' err 2>/dev/null | tail -5
    fi
}
says() { # says TEXT NAME: the last run failed and its message holds TEXT
    grep -qF -- "$1" err
    ok $? "$2"
}

"$medley" synth --products 150 --queries 60 --seed 3 -o shop 2>err
ok $? "synth writes a shop"
"$medley" init --settings | cmp -s - "$docs/settings.md"
ok $? "docs/settings.md is what init --settings prints"
"$medley" init ws --data shop 2>err
ok $? "init finds its files"
"$medley" init ws --data shop 2>err
[ $? -eq 1 ]
ok $? "init does not overwrite"
says "exists already" "and says so"

cat >ws/medley.yaml <<EOF
data: {examples: ../shop/examples.csv, products: ../shop/products.csv, events: ../shop/events.jsonl}
models:
  - {name: small, kind: lm, layers: 1, hidden: 32, heads: 2, vocabulary: 400, max_tokens: 32, epochs: 2,
     pretrain: {steps: 30}}
  - {name: sage, kind: gnn, layer: sage, hidden: 16, epochs: 3}
stacking: {folds: 2, seed: 5}
ensemble: {rounds: 30, num_leaves: 5}
budget: {pin: [sage]}
EOF
"$medley" stack -C ws 2>err
[ $? -eq 1 ]
ok $? "a stage refuses to run before the ones it needs"
says "'stack' needs 'import', which is out of date: never run" "and names it"
"$medley" run -C ws >out 2>err
ok $? "run does everything"
grep -q 'selected ' out
ok $? "and prints the result table"
[ -s ws/report/index.html ]
ok $? "a report is there"
"$medley" status -C ws >out 2>err && ! grep -q stale out
ok $? "status: all up to date"
"$medley" run -C ws >out 2>err && ! grep -q training err
ok $? "a second run trains nothing"
"$medley" evaluate -C ws --json >evaluation.json 2>err
ok $? "evaluate --json"
grep -q '"macro_f1"' evaluation.json && grep -q '"name": "full"' evaluation.json
ok $? "has metrics and the ensembles"
"$medley" rank -C ws --json 2>err | grep -q '"mean_abs_contribution"'
ok $? "rank --json"

# The same bits after kill -9, at whatever stage it hits.
cp -r ws killed
rm -rf killed/.medley killed/data killed/features killed/models killed/predictions killed/ensemble
for delay in 0.05 0.2 0.4 0.6; do
    "$medley" run -C killed >out 2>err &
    pid=$!
    sleep $delay
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
done
"$medley" run -C killed >out 2>err
ok $? "a run killed four times ends"
cmp -s ws/ensemble/full.txt killed/ensemble/full.txt
ok $? "in the same ensemble, bit for bit"
cmp -s ws/ensemble/evaluation.json killed/ensemble/evaluation.json
ok $? "and the same evaluation"

# Pairs of unseen queries; contributions sum to margin - base.
cat >pairs.csv <<EOF
example_id,query,product_id,product_locale,product_title
a,never seen before,unknown-1,us,"a title, with comma"
b,never seen before,unknown-2,us,another title
"c,1",otra consulta,unknown-3,es,un título
EOF
"$medley" predict -C ws --pairs pairs.csv -o out.csv --explain 2>err
ok $? "predict labels unseen queries"
[ "$(wc -l <out.csv)" -eq 4 ] && grep -q '^"c,1",' out.csv
ok $? "one row a pair, ids quoted where they must be"
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) name[i] = $i; next }
    NR < 4 { split("", sum); for (i = 1; i <= NF; i++) {
        if (match(name[i], /^contribution_.*_/)) sum[substr(name[i], RLENGTH + 1)] += $i
        if (sub(/^margin_/, "", name[i])) { margin[name[i]] = $i; name[i] = "margin_" name[i] }
        if (sub(/^base_/, "", name[i])) { base[name[i]] = $i; name[i] = "base_" name[i] } }
      for (k in margin) { d = margin[k] - base[k] - sum[k]; if (d * d > 1e-8) bad = 1; seen++ } }
    END { exit bad || seen < 8 }' out.csv
ok $? "contributions sum to margin - base"
"$medley" predict -C ws --pairs pairs.csv 2>err | head -1 | grep -q '^example_id,label,p_E,'
ok $? "predict to stdout"
"$medley" predict -C ws --pairs pairs.csv --each 2>err |
    awk -F, 'NR == 1 { n = NF; for (i = 1; i <= NF; i++) each += $i ~ /^p_.*_[ESCI]$/; next } NF < n { bad = 1 }
        END { exit bad || each < 4 || each % 4 }'
ok $? "predict --each adds what each model says"
# The same as Parquet, for our own reader and for others where Python has them.
"$medley" predict -C ws --pairs pairs.csv --each --explain -o out.parquet 2>err &&
    "$medley" predict -C ws --pairs pairs.csv --each --explain --format parquet >again.parquet 2>err &&
    "$medley" predict -C ws --pairs pairs.csv --each --explain -o out.jsonl 2>err &&
    "$medley" predict -C ws --pairs pairs.csv --each --explain -o wide.csv 2>err
ok $? "predict writes Parquet, JSONL and CSV"
[ "$(head -c 4 out.parquet)" = PAR1 ] && cmp -s out.parquet again.parquet && [ "$(wc -l <out.jsonl)" -eq 3 ]
ok $? "the same to a file and to stdout"
cat >same.py <<'EOF'
import csv, json, math
rows = list(csv.DictReader(open("wide.csv", newline="")))
def same(got):
    assert len(got) == len(rows) and list(got[0]) == list(rows[0]), (got, rows)
    for a, b in zip(got, rows):
        for name, v in a.items():
            if v is None or isinstance(v, float) and math.isnan(v):
                assert b[name] == "", (name, v, b[name])
            elif isinstance(v, str):
                assert v == b[name], (name, v, b[name])
            else:
                assert abs(v - float(b[name])) <= 1e-7 * abs(v), (name, v, b[name])
same([json.loads(line) for line in open("out.jsonl")])
readers = []
try:
    import pyarrow.parquet as pq
    same(pq.read_table("out.parquet").to_pylist())
    readers.append("pyarrow")
    import pandas
    same(pandas.read_parquet("out.parquet").to_dict("records"))
    readers.append("pandas")
except ImportError:
    pass
try:
    import duckdb
    read = duckdb.sql("select * from 'out.parquet'")
    same([dict(zip(read.columns, r)) for r in read.fetchall()])
    readers.append("duckdb")
except ImportError:
    pass
print(" ".join(readers) or "no other reader here")
EOF
"${PYTHON:-python3}" same.py >readers 2>err
ok $? "JSONL as CSV; Parquet as read by: $(cat readers)"
"$medley" predict -C ws --pairs pairs.csv --format xlsx 2>err
[ $? -eq 2 ]
ok $? "another format is a usage error"
says "no format is called 'xlsx'" "and named"
"$medley" explain -C ws --query "never seen before" --title "a title" --json 2>err | grep -q '"contributions"'
ok $? "explain --json"

# Embeddings made ahead: used for known ids, the same labels without them, another number stales.
awk -F, 'NR == 1 { print "example_id,query,product_id,product_locale" } NR > 1 && NR < 20 {
    print $1 "," $2 "," $4 "," $5 }' shop/examples.csv >known.csv
"$medley" predict -C ws --pairs known.csv -o ahead.csv --explain 2>err
grep -q '18 of 18 pairs from precomputed graph embeddings' err
ok $? "predict uses embeddings made ahead"
cp -r ws off
printf 'serve: {precompute: {products: 0}}\n' >>off/medley.yaml
"$medley" status -C off 2>err | grep -q 'select *stale: serve precompute changed'
ok $? "another number makes the bundle stale"
"$medley" select -C off >out 2>err && [ ! -e off/bundle/current/embeddings ]
ok $? "0 turns them off"
"$medley" predict -C off --pairs known.csv -o live.csv --explain 2>err && cmp -s ahead.csv live.csv
ok $? "with the same output, byte for byte"
bundle=$(readlink ws/bundle/current)
cp -r ws cut && rm -rf cut/bundle cut/.medley/select
for delay in 0.02 0.05 0.1 0.15 0.2 0.3; do
    "$medley" select -C cut >out 2>err &
    pid=$!
    sleep $delay
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
done
"$medley" select -C cut >out 2>err && [ "$(readlink cut/bundle/current)" = "$bundle" ] &&
    cmp -s -i 192 ws/bundle/current/embeddings/sage.bin cut/bundle/current/embeddings/sage.bin # but for times
ok $? "a bundle whose writing was killed ends as the same one"

# A model made elsewhere: out-of-fold predictions pass, in-sample ones are refused.
cp ws/predictions/small/probabilities.npy ws/mine.npy
sed 's/^stacking/  - {name: mine, kind: table, predictions: mine.npy}\nstacking/' ws/medley.yaml >new.yaml
cp new.yaml ws/medley.yaml
"$medley" status -C ws >out 2>err
grep -q 'train-mine *stale: never run' out && grep -q 'train-small *up to date' out
ok $? "a new model makes itself and what follows stale, nothing else"
"$medley" run -C ws >out 2>err
ok $? "a table of out-of-fold predictions is stacked"

"$medley" cascade -C ws --json 2>err | grep -q '"stopped"'
ok $? "cascade --json"
"$medley" profile -C ws --seconds 0.05 >out 2>err && grep -q 'sage' out
ok $? "profile"

cp -r ws plug && printf 'name: again\nkind: table\npredictions: mine.npy\n' >again.yaml
"$medley" model try again.yaml -C plug >out 2>err && grep -q 'Verdict on again' out
ok $? "model try gives a verdict"
cmp -s ws/medley.yaml plug/medley.yaml
ok $? "and leaves medley.yaml as it was"
"$medley" model add name=again kind=table predictions=mine.npy -C plug >out 2>err &&
    "$medley" model list -C plug | grep -q '^again *table *trained'
ok $? "model add"
"$medley" model remove again -C plug 2>err && "$medley" run -C plug >out 2>err && ! grep -q training err
ok $? "model remove: nothing is trained anew"

# Selection under a budget; more models than every subset can be tried for.
"$medley" select -C ws --top 1 --json >selection.json 2>err
ok $? "select --top 1"
[ "$(tr -d ' \n' <selection.json | sed 's/.*"selected":\[\([^]]*\)\].*/\1/' | tr ',' '\n' | wc -l)" -le 1 ]
ok $? "keeps one model"
"$medley" select -C ws --memory 1 >out 2>err
[ $? -eq 1 ]
ok $? "a budget that nothing fits is an error"
says "no subset of the models fits the budget" "and says so"
mkdir many && cp ws/mine.npy many/
{
    sed -n '/^data/p' ws/medley.yaml
    echo "models:"
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do echo "  - {name: t$i, kind: table, predictions: mine.npy}"; done
    echo "stacking: {folds: 2}"
    echo "ensemble: {rounds: 5}"
} >many/medley.yaml
"$medley" run -C many >out 2>err && grep -q '"exact": false' many/ensemble/selection.json
ok $? "thirteen models: a search"
tried=$(grep -c '"within_budget"' many/ensemble/selection.json)
[ "$tried" -ge 91 ] && [ "$tried" -le 800 ]
ok $? "within its bound of refits"

"$medley" diff -C ws current current --max-changed 0 >out 2>err && grep -q '^0 of [0-9]* labels changed (0.00%)$' out
ok $? "diff: a bundle is as itself"
"$medley" diff -C ws current >out 2>err
[ $? -eq 2 ]
ok $? "one bundle is wrong usage"
"$medley" diff -C ws current nothing >out 2>err
[ $? -eq 1 ]
ok $? "no such bundle is a failure"
says "no bundle at 'nothing'" "and says so"
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; print "example_id,p_E,p_S,p_C,p_I"; next }
    { right = $at["split"] == "train"; l = $at["esci_label"]
      printf "%s", $at["example_id"]
      split("E S C I", k, " ")
      for (i = 1; i <= 4; i++) printf ",%s", (right ? k[i] == l : k[i] == "C") ? 0.97 : 0.01
      print "" }' shop/examples.csv >ws/cheat.csv
sed 's/mine.npy/cheat.csv/' new.yaml >ws/medley.yaml
"$medley" run -C ws >out 2>err
[ $? -eq 1 ]
ok $? "in-sample predictions are refused"
says "predictions of 'mine' look in-sample" "and called so"

sed 's/epochs: 2/epoch: 2/' new.yaml >ws/medley.yaml
"$medley" run -C ws >out 2>err
[ $? -eq 1 ]
ok $? "an unknown key is refused"
says "medley.yaml:3: unknown key 'epoch' in models[0]" "with line and key"
"$medley" run -C nowhere >out 2>err
says "'nowhere' is no workspace: it has no medley.yaml" "no workspace"
"$medley" frobnicate >out 2>err
[ $? -eq 2 ]
ok $? "an unknown verb is wrong usage"
"$medley" --help >/dev/full 2>err
[ $? -eq 1 ]
ok $? "a full disk is a failure"
says "cannot write to standard output" "and is said"
"$medley" predict -C ws >out 2>err
[ $? -eq 2 ]
ok $? "a missing option is wrong usage"
for verb in init run status import train stack rank profile model select cascade evaluate report predict explain diff synth; do
    "$medley" $verb --help >out 2>err && grep -q 'Example' out
    ok $? "$verb --help has an example"
done
echo "1..$n"
[ $failed -eq 0 ]
