# Medley: one GNU Makefile. `make`, `make check`, `make demo`; `make help` lists the rest.
# Variants get a tree of their own: B=build/asan SANITIZE=address,undefined.

B ?= build/release
CC ?= gcc
PKGS = libmicrohttpd libcjson libcyaml libutf8proc libxxhash zlib
OPT ?= -O2
WARN = -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
       -Wwrite-strings -Wundef -Wvla $(if $(WERROR),-Werror)
CPPFLAGS += -Iinclude -Isrc -I. -D_GNU_SOURCE $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS += -std=c11 $(OPT) -g -fno-math-errno -fvisibility=hidden -fPIC -pthread $(WARN) \
          $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all)
LDFLAGS += -pthread $(if $(SANITIZE),-fsanitize=$(SANITIZE))
LDLIBS += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -ldl -lm

SRC := $(wildcard src/*/*.c)
CLI := $(wildcard cli/*.c)
TESTS := $(wildcard tests/test_*.c)
OBJ := $(SRC:%.c=$B/%.o)
CLI_OBJ := $(CLI:%.c=$B/%.o)
TEST_BIN := $(TESTS:tests/%.c=$B/tests/%)

all: $B/medley $B/libmedley.a $B/libmedley.so

$B/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$B/libmedley.a: $(OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$B/libmedley.so: $(OBJ)
	$(CC) -shared -Wl,-soname,libmedley.so.0 $(LDFLAGS) $^ $(LDLIBS) -o $@

$B/medley: $(CLI_OBJ) $B/libmedley.a
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

$B/tests/%: $B/tests/%.o $B/libmedley.a
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

tests: $(TEST_BIN)

# make check TEST=test_gbdt runs one.
check: all $(if $(TEST),$B/tests/$(TEST),tests)
	MEDLEY=$(abspath $B/medley) prove --failures --timer -j2 \
	    $(if $(TEST),$B/tests/$(TEST),$(TEST_BIN) $(wildcard tests/e2e/*.t))

clean:
	rm -rf build

.PHONY: all tests check clean
.SECONDARY:

-include $(OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(TEST_BIN:=.d)
