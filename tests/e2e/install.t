#!/bin/sh
# install.t: manual pages and completion say what the program's option tables say; `make install`
# puts all where pkg-config finds it, a program of the examples builds against it and runs, and
# `make uninstall` leaves nothing. MEDLEY is the program to test. TAP on stdout.
MEDLEY=${MEDLEY:-build/release/medley}
build=$(dirname "$MEDLEY")
build=${build#"$PWD"/}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
out=$folder/out err=$folder/err
n=0
failed=0
CC=${CC:-gcc}
# What the caller's make was told is not for the one that is asked here, but for the compiler.
unset MAKEFLAGS MAKELEVEL MFLAGS MAKEOVERRIDES

ok() { # ok STATUS NAME
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        failed=1
        sed 's/^/# /' "$out" "$err" | tail -5
    fi
}

# All names are said: a package's build has others in the environment. -o all: what is built is taken as it is, whatever flags it was built with.
installing() { # installing TARGET
    make -s -o all -o "$build/medley" B="$build" DESTDIR="$folder/root" PREFIX=/opt/medley LIBDIR=/opt/medley/lib \
        MANDIR=/opt/medley/share/man BASHDIR=/opt/medley/share/bash-completion/completions \
        ZSHDIR=/opt/medley/share/zsh/site-functions DOCDIR=/opt/medley/share/doc/medley "$1"
}
installing install >"$out" 2>"$err"
ok $? 'make install into a folder of its own'
root=$folder/root/opt/medley

# ---- pages ----
verbs=$("$MEDLEY" --help | sed -n 's/^  \([a-z]*\) .*/\1/p')
missing=
for verb in $verbs; do
    [ -e "$root/share/man/man1/medley-$verb.1" ] || missing="$missing $verb"
done
[ -n "$verbs" ] && [ -z "$missing" ]
ok $? "a manual page for each verb$missing"
# Every long option of --help stands in the page and in both completions.
: >"$out"
for verb in $verbs 'gbdt train' 'gbdt explain' 'lm verify'; do
    page=$root/share/man/man1/medley-$(echo "$verb" | tr ' ' -).1
    # shellcheck disable=SC2086
    for option in $("$MEDLEY" $verb --help | sed -n 's/^ .* \{2,\}--\([a-z0-9-]*\).*/\1/p'); do
        case $option in help | usage) continue ;; esac
        sed 's/\\-/-/g' "$page" | grep -q -e "--$option" || echo "man $verb: --$option" >>"$out"
        grep -q -e "--$option" "$root/share/bash-completion/completions/medley" || echo "bash: --$option" >>"$out"
        grep -q -e "--$option" "$root/share/zsh/site-functions/_medley" || echo "zsh: --$option" >>"$out"
    done
done
[ ! -s "$out" ]
ok $? 'every option stands in its manual page and in the completions'
if command -v man >/dev/null && man --version >/dev/null 2>&1; then
    for page in "$root"/share/man/man1/*.1; do
        man --warnings -l "$page" 2>&1 >/dev/null
    done >"$out"
    [ ! -s "$out" ]
    ok $? 'man renders them without a warning'
else
    ok 0 'skipped: no man here'
fi
if command -v mandoc >/dev/null; then
    mandoc -T lint "$root"/share/man/man1/*.1 >"$out" 2>&1
    ok $? 'mandoc has nothing to say'
else
    ok 0 'skipped: no mandoc here'
fi

# ---- completion ----
# complete WORD...: what bash would offer for the last word.
complete_words() {
    bash -c 'source "$1"; compopt() { :; }; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _medley; printf "%s\n" "${COMPREPLY[@]}"' \
        bash "$root/share/bash-completion/completions/medley" "$@"
}
[ "$(complete_words medley cas)" = cascade ] &&
    [ "$(complete_words medley select --pr | sort | xargs)" = '--prefer= --price=' ] &&
    [ "$(complete_words medley select --prefer = kn)" = knee ] &&
    [ "$(complete_words medley gbdt conv)" = convert ] &&
    [ "$(complete_words medley gbdt convert --to = xgboost-u)" = xgboost-ubj ] &&
    complete_words medley gbdt explain --in | grep -q '^--interactions$' &&
    [ "$(cd "$root" && complete_words medley run -C inc)" = include ] 2>"$err"
ok $? 'bash completes verbs, sub-verbs, options, values and folders'
if command -v zsh >/dev/null; then
    zsh -n "$root/share/zsh/site-functions/_medley" >"$out" 2>&1
    ok $? 'zsh takes its completion'
else
    ok 0 'skipped: no zsh here'
fi

# ---- the library ----
PKG_CONFIG_PATH=$root/lib/pkgconfig
export PKG_CONFIG_PATH
flags() { pkg-config --define-variable=prefix="$root" --define-variable=libdir="$root/lib" "$@" medley; }
[ "$(pkg-config --modversion medley)" = "$("$MEDLEY" --version | sed 's/.* //')" ] 2>"$err"
ok $? 'medley.pc has the version of the program'
# A library under a sanitizer needs its runtime, which a program without it lacks.
if nm -D "$build/libmedley.so" 2>/dev/null | grep -Eq '__asan_init|__tsan_init|__ubsan_handle'; then
    ok 0 'skipped: a build with sanitizers'
    ok 0 'skipped: a build with sanitizers'
else
    # shellcheck disable=SC2046
    $CC -std=c11 "$root/share/doc/medley/examples/gbdt.c" $(flags --cflags --libs) -o "$folder/gbdt" >"$out" 2>"$err" &&
        LD_LIBRARY_PATH=$root/lib "$folder/gbdt" "$folder" >"$out" 2>"$err" && grep -q '^right: ' "$out"
    ok $? 'an installed example builds by pkg-config against the shared library, and runs'
    # shellcheck disable=SC2046
    $CC -std=c11 "$root/share/doc/medley/examples/gbdt.c" $(flags --cflags) "$root/lib/libmedley.a" \
        $(sed -n 's/^Libs.private: //p' "$root/lib/pkgconfig/medley.pc") -o "$folder/gbdt-static" >"$out" 2>"$err" &&
        "$folder/gbdt-static" "$folder" >"$out" 2>"$err" && grep -q '^right: ' "$out"
    ok $? 'and against the static one'
fi
[ "$(readlink "$root/lib/libmedley.so")" = libmedley.so.0 ] && [ -e "$root/lib/libmedley.so.0" ]
ok $? 'the library goes by its soname'

installing uninstall >"$out" 2>"$err"
[ -z "$(find "$root" ! -type d)" ] && [ ! -d "$root/include/medley" ] && [ ! -d "$root/share/doc/medley" ]
ok $? 'make uninstall leaves no file behind'
echo "1..$n"
exit $failed
