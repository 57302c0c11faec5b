#!/bin/sh
# tokenize.t: `medley tokenize` as a user sees it: training both kinds, encoding with what came
# out, odd texts, and files and models that are refused with their names. TAP on stdout.
medley=${MEDLEY:-build/release/medley}
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
refused() { # refused TEXT NAME: the last run failed with 1 and its message holds TEXT
    [ "$status" -eq 1 ] && grep -qF -- "$1" err
    ok $? "$2"
}

for i in 1 2 3 4 5 6 7 8; do
    printf 'usb c cable %s m\nusb charger with cable\nphone case for usb port %s\n' $i $i
done >texts
for kind in wordpiece unigram; do
    "$medley" tokenize --train texts --kind $kind --vocab-size 60 -o $kind 2>err
    ok $? "$kind is trained"
    echo 'USB cable' | "$medley" tokenize --tokenizer $kind --json >/dev/null 2>err
    [ $? -eq 1 ]
    ok $? "$kind: a line is no JSON array"
    upper=$(echo 'USB  cable' | "$medley" tokenize --tokenizer $kind 2>err)
    lower=$(echo 'usb cable' | "$medley" tokenize --tokenizer $kind 2>err)
    [ -n "$lower" ] && [ "$upper" = "$lower" ]
    ok $? "$kind: upper case and two spaces make no difference"
    printf 'usb \377\300 cable\n' | "$medley" tokenize --tokenizer $kind >out 2>err && [ -s out ]
    ok $? "$kind: bytes that are not UTF-8 are unknown characters"
    : | "$medley" tokenize --tokenizer $kind >out 2>err && [ ! -s out ]
    ok $? "$kind: nothing gives nothing"
    head -c 1000000 /dev/zero | tr '\0' a | "$medley" tokenize --tokenizer $kind >out 2>err
    ok $? "$kind: a megabyte without a space"
done
"$medley" synth --products 60 --queries 30 --seed 3 -o shop 2>err &&
    "$medley" init ws --data shop 2>err && "$medley" import -C ws >/dev/null 2>err &&
    "$medley" tokenize --train ws --locale us --vocabulary 300 -o us 2>err && [ -s us/vocab.txt ]
ok $? 'the texts of a workspace, of one locale'
"$medley" tokenize --train ws --locale xx -o none 2>err
status=$?
refused "no text is of locale 'xx'; there are: us" 'a locale that is not there'
"$medley" tokenize --train texts --locale us -o none 2>err
status=$?
refused 'texts is not the folder of a workspace' 'a file has no locales'
: >empty
"$medley" tokenize --train empty -o none 2>err
status=$?
refused 'empty: no text to train on' 'no texts, no tokenizer'
"$medley" tokenize --tokenizer nowhere <texts 2>err
status=$?
refused 'nowhere' 'a folder that is not there'
head -c 500 unigram/tokenizer.json >tokenizer.json
"$medley" tokenize --tokenizer tokenizer.json <texts 2>err
status=$?
refused 'tokenizer.json:' 'half a tokenizer.json'
mkdir model
echo '{"model_type": "bert", "vocab_size": "many"}' >model/config.json
"$medley" lm verify model 2>err
status=$?
refused 'model/config.json: vocab_size' 'a config.json with a text for a number'

echo "1..$n"
[ $failed -eq 0 ]
