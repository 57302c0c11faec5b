#!/usr/bin/perl
# docs.t: what the documentation tells people to type works. Every block called ```sh of README.md and
# docs/*.md is run, in order, each page in a folder of its own where there are:
#   data/, judgements/   a synthetic shop's files       shop/        a workspace of it that has run,
#   X.npy y.npy new.npy  a table of 8 features                       unless the page makes it itself
#   lightgbm.txt         a model of another library     examples/, include/   of the repository
#   shopping_queries_dataset/   a dataset in its published form
# A ```yaml block that begins with "# NAME.yaml" is written to that file. `medley serve` runs in the
# background on a free port, to which `curl` is led; a page that only asks finds shop served. `make` says whether its targets exist. A block that
# cannot be run says so to its readers' readers: <!-- not run: why --> on the line before it.
# MEDLEY is the program to test; PAGES="README.md" picks pages. TAP on stdout.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use File::Temp qw(tempdir);

my $medley = abs_path($ENV{MEDLEY} || 'build/release/medley');
my $root = abs_path(dirname(__FILE__) . '/../..');
my $work = tempdir('medley-docs-XXXXXX', TMPDIR => 1, CLEANUP => !$ENV{KEEP});
my ($n, $failed) = (0, 0);
sub ok {
    my ($good, $name, $why) = @_;
    print $good ? '' : 'not ', 'ok ', ++$n, " - $name\n";
    $failed++ unless $good;
    print map { "# $_\n" } split /\n/, $why if !$good && $why;
}

sub slurp {
    my ($path) = @_;
    open my $f, '<', $path or return '';
    local $/;
    return <$f> // '';
}
sub spew {
    my ($path, $text) = @_;
    open my $f, '>', $path or die "$path: $!\n";
    print $f $text;
    close $f;
}

my $links = `cd '$root' && scripts/check-links 2>&1`;
ok($? == 0, 'links lead somewhere, and blocks of commands are called sh', $links);

my $api = `cd '$root' && scripts/api-docs 2>&1`;
ok($api eq slurp("$root/docs/api.md"), 'docs/api.md is what the headers say', 'run make docs');

my $odd = slurp("$root/docs/own-data.md");
my @lacking = grep { my ($kind, $done) = @$_; index($odd, "| $kind | $done |") < 0 } do {
    my $list = slurp("$root/src/data/importer.h");
    my @all;
    push @all, [$1, $2] while $list =~ /X\([A-Z_]+, "([^"]*)",\s*"([^"]*)"\)/g;
    @all ? @all : ['no list of odd rows', 'in src/data/importer.h'];
};
ok(!@lacking, 'docs/own-data.md names every kind of odd row', join "\n", map { "| $_->[0] | $_->[1] |" } @lacking);

# Sanitizers make training ten times slower, and test nothing here that other tests do not.
if (`nm -C '$medley' 2>/dev/null | grep -c -e __asan_init -e __tsan_init -e __ubsan_handle` > 0) {
    ok(1, 'skipped: a build with sanitizers');
    print "1..$n\n";
    exit($failed ? 1 : 0);
}

# ---- the world of the pages ----
sub npy {
    my ($type, $shape, $bytes) = @_;
    my $header = "{'descr': '$type', 'fortran_order': False, 'shape': ($shape), }";
    $header .= ' ' x (63 - (10 + length $header) % 64) . "\n";
    return "\x93NUMPY\1\0" . pack('v', length $header) . $header . $bytes;
}
my $world = "$work/world";
mkdir $world;
srand 1;
my (@x, @y);
for my $row (1 .. 240) {
    my @features = map { rand } 1 .. 8;
    push @x, @features;
    push @y, ($features[0] > 0.5) + ($features[4] > 0.5);
}
spew("$world/X.npy", npy('<f4', '240, 8', pack('f<*', @x)));
spew("$world/new.npy", npy('<f4', '240, 8', pack('f<*', @x)));
spew("$world/y.npy", npy('|u1', '240,', pack('C*', @y)));
spew("$world/lightgbm.txt", slurp("$root/tests/data/gbdt/lightgbm_multiclass.txt"));
spew("$world/admin.token", 'a-token-for-tests-alone-0123456789');
chmod 0600, "$world/admin.token";
symlink "$root/examples", "$world/examples";
symlink "$root/include", "$world/include";
my $made = system("cd '$world' && (ln -s data judgements && '$medley' synth --products 80 --queries 30 --seed 2 -o data &&"
    . " '$medley' init shop --data data && '$medley' run -C shop) >'$work/log' 2>&1");
# The published form of the examples: each belongs to a version or to both.
mkdir "$world/shopping_queries_dataset";
spew("$world/shopping_queries_dataset/shopping_queries_dataset_examples.csv", do {
    my ($first, @lines) = split /\n/, slurp("$world/data/examples.csv");
    join '', map { "$_\n" } "$first,small_version,large_version", map { "$lines[$_]," . ($_ % 3 ? 1 : 0) . ',1' } 0 .. $#lines;
});
system("cp '$world/data/products.csv' '$world/shopping_queries_dataset/shopping_queries_dataset_products.csv'");
# Predictions of somebody's model, and pairs that wait for a label.
my ($head, @rows) = split /\n/, slurp("$world/data/examples.csv");
my %column = do { my @names = split /,/, $head; map { $names[$_] => $_ } 0 .. $#names };
spew("$world/mine.csv", "example_id,p_E,p_S,p_C,p_I\n" . join '', map {
    my $id = (split /,/)[$column{example_id}];
    sprintf "%s,0.4,0.2,%.1f,%.1f\n", $id, $id % 3 ? (0.3, 0.1) : (0.1, 0.3)
} @rows);
spew("$world/new.csv", join "\n", "query,product_id,product_locale", (map {
    join ',', (split /,/)[@column{qw(query product_id product_locale)}]
} @rows[0 .. 9]), '');
system("cp '$world/mine.csv' '$world/shop/'");
ok($made == 0, 'a small shop', slurp("$work/log"));

# ---- the pages ----
my $preamble = <<'END';
set -e
serving=
trap '[ -z "$serving" ] || kill $serving 2>/dev/null; wait 2>/dev/null' EXIT
medley() {
    if [ "$1" != serve ] || [ "$2" = --help ]; then
        "$MEDLEY" "$@"
        return
    fi
    [ -z "$serving" ] || { kill $serving; wait $serving || true; }
    : >.port
    "$MEDLEY" "$@" --port 0 2>.port &
    serving=$!
    for i in $(seq 200); do
        ! grep -qs 'http://' .port || break
        kill -0 $serving || { cat .port; return 1; }
        sleep 0.05
    done
}
curl() {
    port=$(sed -n 's#.*http://[^ ]*:\([0-9]*\).*#\1#p' .port)
    i=$#
    while [ $i -gt 0 ]; do
        set -- "$@" "$(printf %s "$1" | sed -E "s#(localhost|127\.0\.0\.1):[0-9]+#127.0.0.1:$port#")"
        shift
        i=$((i - 1))
    done
    command curl -sS --fail-with-body --max-time 20 "$@"
}
make() { command make -s -C "$ROOT" -n "$@" >/dev/null; }
END

# The blocks that are run, as a script; how many there are.
sub script_of {
    my ($text) = @_;
    my ($script, $blocks, $line, $why) = ($preamble, 0, 0, '');
    my ($fence, @block);
    for (split /\n/, $text) {
        $line++;
        if (!defined $fence) {
            if (/^```(\w+)/) { ($fence, @block) = ($1) }
            elsif (/^<!-- not run: .*-->/) { $why = 1 }
            elsif (/\S/) { $why = '' }
            next;
        }
        if (!/^```/) { push @block, $_; next }
        my $body = join '', map { "$_\n" } @block;
        my $from = $line - @block;
        if ($fence eq 'sh' && !$why) {
            $script .= "echo '## line $from'\n$body";
            $blocks++;
        } elsif ($fence eq 'yaml' && !$why && @block && $block[0] =~ /^# (\S+\.ya?ml)$/) {
            $script .= "cat >$1 <<'END_OF_YAML'\n${body}END_OF_YAML\n";
        }
        ($fence, $why) = (undef, '');
    }
    my $admin = "medley serve -C shop --admin-token-file admin.token\n";
    $script =~ s/^(?=echo '## line)/$admin/m if $script =~ /^curl /m && $script !~ /\A(?:(?!^curl ).)*^medley serve /ms;
    return ($script, $blocks);
}

my @pages = $ENV{PAGES} ? split(/ /, $ENV{PAGES}) : map { s{^\Q$root\E/}{}r } glob("$root/README.md $root/CONTRIBUTING.md $root/docs/*.md");
my $run = 0;
for my $page (@pages) {
    my ($script, $blocks) = script_of(slurp("$root/$page"));
    next unless $blocks;
    $run += $blocks;
    my $folder = "$work/" . basename($page, '.md');
    system("cp -a '$world' '$folder'");
    system("rm -rf '$folder/shop'") if $script =~ /^medley init shop/m;
    spew("$folder/.script", $script);
    local %ENV = (%ENV, MEDLEY => $medley, ROOT => $root, HOME => $folder);
    delete @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS MAKEOVERRIDES)};
    my $began = time;
    my $status = system("cd '$folder' && timeout 120 bash .script >.out 2>&1");
    my @out = split /\n/, slurp("$folder/.out");
    my ($last) = grep { /^## line/ } reverse @out;
    ok($status == 0, "$page: $blocks blocks run, " . (time - $began) . ' s',
        join "\n", ($last // '## line ?') . " of $page failed", @out > 12 ? @out[-12 .. -1] : @out);
}
ok($run > 0, "$run blocks were run");
print "1..$n\n";
exit($failed ? 1 : 0);
