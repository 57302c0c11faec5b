# Medley: one GNU Makefile. `make help` lists the targets.
#
# Variants get a tree of their own: B=build/asan SANITIZE=address,undefined OPT=-O1. New files under
# src/, cli/, tests/ and fuzz/ are found by their names; nothing is listed here.

B ?= build/release
OPT ?= -O2
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
T ?= 60
DATA ?=
JOBS ?= 2
PYTHON ?= /usr/bin/python3
ifeq ($(origin CC),default)
CC = gcc
endif

# The version stands once, in the source; the shared library's name holds its first number.
VERSION := $(shell sed -n 's/^.define VERSION "\(.*\)".*/\1/p' src/base/error.c)
SONAME := libmedley.so.$(firstword $(subst ., ,$(VERSION)))

.DEFAULT_GOAL := all

# ---- dependencies ------------------------------------------------------------------------------
# build/deps.mk holds the flags of the libraries. Making it installs what is missing; make then reads
# itself anew, so that a bare machine needs one command. Targets that compile nothing do without.
PKGS = libmicrohttpd yaml-0.1 libutf8proc libxxhash zlib libpcre2-8 libcurl snappy libzstd lmdb
PASSIVE = help clean format layers dist deb docker-check links site

ifneq ($(filter-out $(PASSIVE),$(or $(MAKECMDGOALS),all)),)
include build/deps.mk
endif

build/deps.mk: Makefile scripts/install-deps
	@mkdir -p $(@D)
	@scripts/install-deps
	@{ echo "PKG_CFLAGS := $$(pkg-config --cflags $(PKGS))"; \
	   echo "PKG_LIBS := $$(pkg-config --libs $(PKGS))"; } >$@.tmp && mv $@.tmp $@

# ---- flags -------------------------------------------------------------------------------------
WARN = -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
       -Wwrite-strings -Wundef -Wvla $(if $(WERROR),-Werror)
ALL_CPPFLAGS = -Iinclude -Isrc -I. -D_GNU_SOURCE $(PKG_CFLAGS) $(CPPFLAGS)
# -fno-math-errno lets sqrtf and friends be single instructions; results stay the same.
ALL_CFLAGS = -std=c11 $(OPT) -g -fno-math-errno -fvisibility=hidden -fPIC -pthread $(WARN) \
             $(SANITIZE:%=-fsanitize=% -fno-omit-frame-pointer -fno-sanitize-recover=all) $(CFLAGS)
ALL_LDFLAGS = -pthread $(SANITIZE:%=-fsanitize=%) $(LDFLAGS)
ALL_LDLIBS = $(PKG_LIBS) -ldl -lm $(LDLIBS)
# nodelete: the pool's threads must not outlive their code after a dlclose.
SO_FLAGS = -shared -Wl,-soname,$(SONAME) -Wl,-z,nodelete $(if $(SANITIZE),,-Wl,--no-undefined)

# ---- what there is -----------------------------------------------------------------------------
SRC := $(wildcard src/*/*.c)
CLI := $(wildcard cli/*.c)
TESTS := $(wildcard tests/test_*.c)
FUZZ := $(wildcard fuzz/fuzz_*.c)
OBJ := $(SRC:%.c=$B/%.o) $B/web/page_files.o
CLI_OBJ := $(CLI:%.c=$B/%.o)
TEST_BIN := $(TESTS:%.c=$B/%)
FUZZ_BIN := $(FUZZ:%.c=$B/%)
REPLAY_BIN := $(FUZZ:fuzz/fuzz_%.c=$B/fuzz/replay_%)
PLUGINS := $(patsubst %.c,$B/%.so,$(wildcard examples/plugin_*.c tests/plugin_*.c))
EXAMPLES := $(patsubst %.c,$B/%,$(filter-out examples/plugin_%,$(wildcard examples/*.c)))
BENCH_BIN := $(patsubst %.c,$B/%,$(wildcard bench/bench_*.c))

all: $B/medley $B/libmedley.a $B/libmedley.so $(PLUGINS) $(EXAMPLES)  ## build the library and the program (default)

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
	@echo "Variables: B= OPT= SANITIZE= WERROR=1 CC= TEST=test_x FUZZER=json T=seconds DATA= PREFIX= DESTDIR="

# The library and the programs also obey the list of banned functions.
$B/src/%.o $B/cli/%.o: ALL_CPPFLAGS += -include src/base/banned.h

# The dashboard: one script of all of web/*.js, main.js last; then C (web/README.md).
$B/web/page.js: $(sort $(filter-out web/main.js,$(wildcard web/*.js))) web/main.js
	@mkdir -p $(@D)
	@cat $^ >$@

PAGE = page_html:'text/html; charset=utf-8':web/page.html page_css:'text/css; charset=utf-8':web/page.css \
       page_js:'text/javascript; charset=utf-8':$B/web/page.js page_icon:image/svg+xml:web/page.svg
$B/web/page_files.c: $B/web/page.js web/page.html web/page.css web/page.svg scripts/embed-web Makefile
	@scripts/embed-web $(PAGE) >$@.tmp && mv $@.tmp $@

$B/web/page_files.o: $B/web/page_files.c
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$B/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

# q, not r: two folders may hold files of one name, and r would keep only the last.
$B/libmedley.a: $(OBJ)
	@rm -f $@
	$(AR) qcs $@ $^

$B/libmedley.so: $(OBJ)
	$(CC) $(SO_FLAGS) $(ALL_LDFLAGS) $^ $(ALL_LDLIBS) -o $@
	@ln -sf libmedley.so $B/$(SONAME)

$B/medley: $(CLI_OBJ) $B/libmedley.a
	$(CC) $(ALL_LDFLAGS) $^ $(ALL_LDLIBS) -o $@

examples: $(filter $B/examples/%,$(PLUGINS)) $(EXAMPLES)  ## build the examples

# A plugin needs the public headers alone.
$(PLUGINS): $B/%.so: %.c include/medley/plugin.h
	@mkdir -p $(@D)
	$(CC) -Iinclude $(ALL_CFLAGS) -shared $(ALL_LDFLAGS) $< -lm -o $@

# Programs of the examples too: what they use is what a user has.
$(EXAMPLES): $B/%: %.c $B/libmedley.a $(wildcard include/medley/*.h)
	@mkdir -p $(@D)
	$(CC) -Iinclude $(ALL_CFLAGS) $(ALL_LDFLAGS) $< $B/libmedley.a $(ALL_LDLIBS) -o $@

$B/tests/%: $B/tests/%.o $B/libmedley.a
	$(CC) $(ALL_LDFLAGS) $^ $(ALL_LDLIBS) -o $@

$B/bench/%: $B/bench/%.o $B/libmedley.a
	$(CC) $(ALL_LDFLAGS) $^ $(ALL_LDLIBS) -o $@

$B/fuzz/%: $B/fuzz/%.o $B/libmedley.a
	$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer $^ $(ALL_LDLIBS) -o $@

$(REPLAY_BIN): $B/fuzz/replay_%: $B/fuzz/replay.o $B/fuzz/fuzz_%.o $B/libmedley.a
	$(CC) $(ALL_LDFLAGS) $^ $(ALL_LDLIBS) -o $@

# ---- tests -------------------------------------------------------------------------------------
tests: $(TEST_BIN) $(REPLAY_BIN)

CHOSEN = $(if $(TEST),$(if $(wildcard tests/$(TEST).c),$B/tests/$(TEST),tests/e2e/$(TEST).t), \
              $B/tests/test_soak $(filter-out %/test_soak,$(TEST_BIN)) $(wildcard tests/e2e/*.t))

check: all $(if $(TEST),$(filter $B/%,$(CHOSEN)),tests)  ## run the tests, or TEST=test_x alone
	MEDLEY=$(abspath $B/medley) prove --failures --timer -j$(JOBS) $(CHOSEN)

api-check: $B/medley  ## the server against its /openapi.json, with requests that a tester makes up; needs the network once
	@B=$B scripts/api-check

soak: $B/tests/test_soak  ## the server under load and misfortunes for T=60 seconds, every answer checked; check runs it so, too
	SOAK_SECONDS=$(T) $<

asan:  ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(MAKE) B=build/asan SANITIZE=address,undefined OPT=-O1 check

# Without address randomisation: gcc 12's runtime gives up on the layouts of newer kernels. A forked
# child may start threads: that the pool can is one of the tests.
tsan:  ## the tests under ThreadSanitizer
	TSAN_OPTIONS=die_after_fork=0 setarch -R $(MAKE) B=build/tsan SANITIZE=thread OPT=-O1 check

werror:  ## build all with gcc and with clang, warnings are errors
	$(MAKE) CC=gcc B=build/werror-gcc WERROR=1 all tests
	$(MAKE) CC=clang B=build/werror-clang WERROR=1 all tests

cov:  ## the tests with coverage; lines covered per file
	$(MAKE) B=build/cov OPT='-O0 --coverage' LDFLAGS=--coverage check
	@gcov -n $$(find build/cov/src -name '*.gcda') 2>/dev/null | scripts/coverage-table

# Findings join build/fuzz/corpus; a crasher worth keeping goes to fuzz/corpus by hand.
fuzz:  ## fuzz each parser for T=20 seconds, or FUZZER=json alone
	$(MAKE) CC=clang B=build/fuzz SANITIZE=address,undefined OPT=-O1 \
	    CFLAGS=-fsanitize=fuzzer-no-link fuzz-run

fuzz-run: $(if $(FUZZER),$B/fuzz/fuzz_$(FUZZER),$(FUZZ_BIN))
	@for f in $^; do \
	    name=$${f##*/fuzz_}; log=$B/$$name.log; mkdir -p $B/corpus/$$name; \
	    $$f -max_total_time=$(T) -timeout=10 -verbosity=0 -print_final_stats=1 \
	        -artifact_prefix=$B/$$name- $B/corpus/$$name fuzz/corpus/$$name \
	        >$$log 2>&1 || { tail -n 40 $$log; echo "fuzzing $$name failed"; exit 1; }; \
	    echo "fuzz $$name: clean, $$(sed -n 's/.*executed_units: *//p' $$log) runs in $(T) s"; \
	done

bench: $(BENCH_BIN)  ## run the benchmarks (bench/), CSV to stdout
	@for b in $^; do $$b || exit 1; done

# Debian's chromium and node; the driver and axe-core come from the npm registry, once.
web-check: $B/medley  ## the dashboard in a headless browser, screenshots in $B/web-check
	@B=$B scripts/web-check

# ---- the Python package ------------------------------------------------------------------------
python: all  ## a wheel with all it needs, in $B/python/dist
	@scripts/python-wheel $B

# Newest packages of the registry, in a virtual environment of its own.
python-check: python  ## the package's tests, against the wheel; needs the network once
	@scripts/peers-env build/python-check python
	@build/python-check/bin/pip install --quiet --force-reinstall --no-deps $B/python/dist/*.whl
	@cd python/tests && PYTHONDONTWRITEBYTECODE=1 \
	    timeout 900 ../../build/python-check/bin/python -m pytest -q -p no:cacheprovider .

python-test: all  ## the package's tests as far as numpy alone goes, against $B; Debian's numpy and pytest
	@scripts/install-deps --python
	@cd python/tests && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(CURDIR)/python \
	    MEDLEY_LIBRARY=$(abspath $B/libmedley.so) MEDLEY_PROGRAM=$(abspath $B/medley) \
	    timeout 600 $(PYTHON) -m pytest -q -p no:cacheprovider .

# Beside the newest LightGBM, XGBoost, scikit-learn, shap and fasttreeshap, from the Python registry
# into virtual environments of their own. SIZES=quick (minutes), full (hours), or cases by
# name; THREADS=1 and REPEATS=1 in the environment for a busy machine.
PEERS = build/peers
SIZES ?= quick
PEER_BENCH = MEDLEY_BUILD=$B $(PEERS)/bin/python -B bench/peers

$(PEERS)/complete: scripts/peers-env
	scripts/peers-env $(PEERS)

peer-tools: $(addprefix $B/bench/,stack_table medley_worker single_row) $(PEERS)/complete

bench-gbdt: peer-tools  ## train, predict and memory against other libraries, CSV to stdout
	@$(PEER_BENCH)/gbdt.py $(SIZES)

bench-tokenize: $B/bench/bench_tokenize $(PEERS)/complete  ## tokenizers beside Hugging Face's, CSV to stdout
	@$(PEER_BENCH)/tokenize_speed.py

bench-graph-quality: $B/medley  ## what graph models add to language models; half an hour, no peers
	@[ -n "$(MINILM)" ] || [ -e build/minilm/model.safetensors ] || scripts/fetch-minilm build/minilm
	@for data in shop esci; do \
	    MINILM="$(MINILM)" python3 -B bench/graph_quality.py $B/medley $B/graph-quality $$data || exit 1; done

reproduce: $B/medley $(PEERS)/complete  ## the published experiment's shape, beside the reference recipe; SEEDS="1 2 3 4 5", hours
	@[ -n "$(MINILM)" ] || [ -e build/minilm/model.safetensors ] || scripts/fetch-minilm build/minilm
	@for data in shop esci; do MINILM="$(MINILM)" $(PEERS)/bin/python -B bench/reproduce.py $B/medley $B/reproduce \
	    $$data $(SEEDS) || exit 1; done

bench-parquet: $B/bench/bench_parquet $B/bench/parquet_copy $(PEERS)/complete  ## reading Parquet beside pyarrow, CSV to stdout
	@$(PEER_BENCH)/parquet.py

parquet-check: $B/bench/bench_parquet $B/bench/parquet_copy $(PEERS)/complete  ## Parquet read and written beside pyarrow, DuckDB, pandas
	@$(PEER_BENCH)/parquet_check.py

$(PEERS)-lm/complete: scripts/peers-env
	scripts/peers-env $(PEERS)-lm lm

bench-lm: $B/bench/lm_worker $B/bench/bench_tokenize $(PEERS)-lm/complete  ## language models against ONNX Runtime and torch, CSV to stdout
	@MEDLEY_BUILD=$B $(PEERS)-lm/bin/python -B bench/peers/lm.py $(SIZES)

lm-check: all $(PEERS)-lm/complete  ## Hugging Face's classifiers of nine families, beside Transformers
	@cd python/tests && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(CURDIR)/python \
	    MEDLEY_LIBRARY=$(abspath $B/libmedley.so) MEDLEY_PROGRAM=$(abspath $B/medley) \
	    $(abspath $(PEERS)-lm)/bin/python -m pytest -q -p no:cacheprovider test_hugging_face.py

bench-lm-quality: $B/medley $B/bench/lm_quality $(PEERS)-lm/complete  ## fine-tuned quality beside Transformers; hours on one core
	@MEDLEY_BUILD=$B $(PEERS)-lm/bin/python -B bench/peers/lm_quality.py

$(PEERS)-gnn/complete: scripts/peers-env
	scripts/peers-env $(PEERS)-gnn gnn

bench-gnn: $(filter %/bench_gnn %/bench_lookup,$(BENCH_BIN)) $(PEERS)-gnn/complete  ## graph layers beside PyTorch Geometric and torch, CSV to stdout
	@MEDLEY_BUILD=$B $(PEERS)-gnn/bin/python -B bench/peers/gnn.py

bench-serve: $B/medley $(addprefix $B/bench/,http_load constant_server) $(PEERS)-serve/complete  ## the server beside constant bytes and a Python server, CSV to stdout
	@MEDLEY_BUILD=$B $(PEERS)-serve/bin/python -B bench/peers/serve.py

$(PEERS)-serve/complete: scripts/peers-env
	scripts/peers-env $(PEERS)-serve serve

bench-shap: peer-tools  ## Shapley values against other libraries, CSV to stdout
	@$(PEER_BENCH)/shapley.py $(SIZES)

# ---- house rules -------------------------------------------------------------------------------
OURS = $(wildcard src/*/*.[ch] cli/*.[ch] tests/*.[ch] fuzz/*.c bench/*.[ch] include/medley/*.h)

format:  ## clang-format every file of ours
	clang-format -i $(OURS)

tidy:  ## clang-tidy over src/ and cli/ (.clang-tidy says what and why)
	@printf '%s\n' $(SRC) $(CLI) | xargs -P $(JOBS) -I{} \
	    sh -c 'clang-tidy --quiet {} -- -std=c11 $(ALL_CPPFLAGS) 2>/dev/null' # stderr only counts

headers:  ## each header compiles alone, the public ones as C and as C++
	CC='$(CC)' CPPFLAGS='$(PKG_CFLAGS)' scripts/check-headers

layers:  ## includes between the folders of src/ point one way
	scripts/check-layers

# ---- trying ------------------------------------------------------------------------------------
demo: demo-deps all  ## from a bare checkout to a served shop, step by step
	B=$B scripts/demo '$(DATA)'

demo-deps:
	@scripts/install-deps --demo

clean:  ## remove everything that was built
	rm -rf build

.PHONY: all help api-check soak web-check python python-check python-test tests check asan tsan werror cov fuzz fuzz-run bench bench-gbdt bench-gnn bench-graph-quality bench-serve reproduce bench-shap bench-lm lm-check bench-lm-quality bench-parquet parquet-check bench-tokenize peer-tools format tidy headers layers \
        demo demo-deps clean
.SECONDARY:

include scripts/packaging.mk

-include $(OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(TEST_BIN:=.d) $(FUZZ_BIN:=.d) $B/fuzz/replay.d $(wildcard $B/bench/*.d)
