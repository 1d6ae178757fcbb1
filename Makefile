# SPDX-License-Identifier: Apache-2.0
#
# Each folder of cmd/ with a main.c is a program, each folder of pkg/ a package; a new file needs no
# edit here.  Build flavours live side by side, each in a folder of its own:
#
#   make                  build/         release: static-pie, hardened, stripped
#   make SAN=1            build-san/     dynamic, AddressSanitizer and UBSan
#   make CC=clang         build-clang/   (SAN=1 as well: build-clang-san/)
#   make ARCH=arm64       build-arm64/   cross-compiled; without gpusim, whose tracer is x86-64 only
#   make OPENSSL=minimal  build-minimal/ with an OpenSSL cut down to what the programs use
#
# V=1 shows whole commands, JOBS=N says how many run at once (default: one per processor).

VERSION  := 0.1.0
COMMIT   := $(shell git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo unknown)
NATIVE   := $(shell dpkg --print-architecture)
ARCH     ?= $(NATIVE)
OPENSSL  ?= debian
PREFIX   ?= /usr/local
JOBS     ?= $(shell nproc)
MAKEFLAGS += --no-builtin-rules $(if $(filter 0,$(MAKELEVEL)),-j$(JOBS))
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDEXPANSION:
.SECONDARY:

ifneq ($(ARCH),$(NATIVE))
CROSS    := aarch64-linux-gnu-
CC       := $(CROSS)gcc
endif
ifeq ($(origin CC),default)
CC       := gcc
endif
AR       := $(CROSS)ar
CLANG    := $(findstring clang,$(CC))
BUILD    ?= build$(if $(CLANG),-clang)$(if $(CROSS),-$(ARCH))$(if $(filter minimal,$(OPENSSL)),-minimal)$(if $(FUZZ),-fuzz,$(if $(SAN),-san))

PROGRAMS := $(filter-out $(if $(filter arm64,$(ARCH)),gpusim),$(patsubst cmd/%/main.c,%,$(wildcard cmd/*/main.c)))
FUZZERS  := $(patsubst test/fuzz/%.c,%,$(wildcard test/fuzz/fuzz_*.c))
# test/unit/test_*.c are one program; test/unit/NAME/test_*.c see cmd/NAME without its main.c.
UNITS    := $(if $(wildcard test/unit/test_*.c),pkg) $(patsubst test/unit/%/,%,$(wildcard test/unit/*/))
SOURCES  := $(wildcard pkg/*/*.c cmd/*/*.c test/unit/*.c test/unit/*/*.c test/fuzz/*.c test/bench/*.c)
SCRIPTS  := $(shell grep -lsE '^\#!.*\b(ba)?sh\b' hack/* .ci/* test/*/* 2>/dev/null)

# Libraries: .a files of the distribution, and the few that hack/static-libs makes.  Tests and
# sanitizer builds take curl and libpci from there too, so they test what is released.
LIBS     := $(shell hack/static-libs -a $(ARCH) -o $(OPENSSL) path)
LDLIBS   := -L$(LIBS)/lib -lcurl -lnghttp2 -lcares -lssl -lcrypto -ljansson -lyaml -lpci

WARN     := -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wundef -Werror
CPPFLAGS := -iquote pkg -isystem $(LIBS)/include -D_GNU_SOURCE -DCURL_STATICLIB
OPT      ?= -O2 -g
CFLAGS   := -std=gnu17 $(OPT) $(WARN) -fPIE -ffunction-sections -fdata-sections
LDFLAGS  := -Wl,--as-needed,-z,relro,-z,now,-z,noexecstack
comma    := ,
ifneq ($(SAN)$(FUZZ),)
CFLAGS   += -O1 -fsanitize=address,undefined$(if $(FUZZ),$(comma)fuzzer-no-link) -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS  += -fsanitize=address,undefined
PIE      := -pie
else
CFLAGS   += -D_FORTIFY_SOURCE=2 -fstack-protector-strong $(if $(CLANG)$(CROSS),,-fstack-clash-protection) \
            $(if $(filter amd64,$(ARCH)),-fcf-protection,-mbranch-protection=standard)
PIE      := -static-pie
endif

PKG_LIB  := $(BUILD)/libpkg.a
BINS     := $(PROGRAMS:%=$(BUILD)/bin/%)
TESTS    := $(UNITS:%=$(BUILD)/unit/%) $(FUZZERS:%=$(BUILD)/fuzz/%)
objs      = $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(1)/*.c))
Q        := $(if $(V),,@)
say       = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2))
submake   = $(MAKE) --no-print-directory

all: $(PKG_LIB) $(BINS)              ## the programs, into build/bin/
tests: $(TESTS)
help:                        ## this list
	@awk -F'[:#]+' '/^[a-z0-9]+:.*## /{printf "  make %-10s %s\n", $$1, $$NF}' Makefile

# --- how things are made --------------------------------------------------------------------------
$(BUILD)/%.o: %.c $(BUILD)/flags | $(LIBS)/lib/.done
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/pkg/base/version.o: CPPFLAGS += -DGPUCC_VERSION='"$(VERSION)"' -DGPUCC_COMMIT='"$(COMMIT)"'
$(BUILD)/pkg/base/version.o: $(BUILD)/commit
$(PKG_LIB): $(call objs,pkg/*)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^
# A release program is linked with its symbols (debug/), checked, then stripped; nobody strips the others.
$(BUILD)/debug/%: $$(call objs,cmd/$$*) $(PKG_LIB)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)hack/link-checked $@ $(CC) $(PIE) -Wl,--gc-sections $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/bin/%: $(BUILD)/debug/%
	@mkdir -p $(@D)
	$(Q)$(if $(filter -static-pie,$(PIE)),hack/check-static $< && $(CROSS)strip -o $@ $<,cp $< $@)
$(BUILD)/unit/pkg: $(call objs,test/unit)
$(BUILD)/unit/%: $$(call objs,test/unit/$$*) $$(filter-out $$(BUILD)/cmd/$$*/main.o,$$(call objs,cmd/$$*)) $(PKG_LIB)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -no-pie $(LDFLAGS) -o $@ $(filter %.o,$^) $(PKG_LIB) -lcriterion $(LDLIBS)
$(BUILD)/fuzz/%: $(BUILD)/test/fuzz/%.o $(if $(FUZZ),,$(BUILD)/test/fuzz/replay.o) $(PKG_LIB)
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -no-pie $(LDFLAGS) $(if $(FUZZ),-fsanitize=fuzzer) -o $@ $^ $(LDLIBS)
$(LIBS)/lib/.done:
	hack/static-libs -a $(ARCH) -o $(OPENSSL) build || { echo '"hack/install-deps build" installs what this needs'; exit 1; }
# Rewritten only when their text changes: other flags rebuild everything, a new commit one object.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D); echo '$(CC) $(CPPFLAGS) $(CFLAGS)' | hack/write-if-changed $@
$(BUILD)/commit: FORCE
	@echo '$(VERSION) $(COMMIT)' | hack/write-if-changed $@
FORCE:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# --- the contract's targets -----------------------------------------------------------------------
demo:                        ## install what the build needs, build, show a mode switch on the simulators
	hack/install-deps build
	+@$(submake) all
	hack/demo
test:                        ## install what the tests need, then make check
	hack/install-deps test
	+@$(submake) check
check:                       ## unit tests, fuzz corpora under ASan and UBSan, programs on the simulators
	+@$(submake) all tests
	+@$(submake) SAN=1 all tests
	@hack/check
e2e:                         ## the release programs against a real kube-apiserver
	hack/install-deps build
	+@$(submake) all
	test/e2e/run
fuzz:                        ## libFuzzer on every target, FUZZ_SECONDS (60) each
	hack/install-deps lint
	+@$(submake) FUZZ=1 CC=clang tests-fuzz
	hack/run-fuzz libfuzzer build-clang-fuzz/fuzz
tests-fuzz: $(FUZZERS:%=$(BUILD)/fuzz/%)
bench:                       ## latency, memory, CPU, requests, sizes as ratios within one run
	+@$(submake) all
	test/bench/run
arm64:                       ## cross-compile the agents for arm64
	hack/install-deps arm64
	+@$(submake) ARCH=arm64 all
lint:                        ## gcc -fanalyzer, clang-tidy, shellcheck, style and layers
	hack/install-deps lint
	+@$(submake) -k lint-layers lint-style lint-shell lint-analyzer lint-tidy
lint-layers:
	hack/check-layers
lint-style:
	hack/check-style
format:                      ## clang-format on the C files that git sees as changed
	git diff --name-only HEAD -- '*.c' '*.h' | xargs -r clang-format -i
lint-shell:
	shellcheck $(SCRIPTS)
each_source = printf '%s\n' $(filter-out pkg/base/err.c,$(filter pkg/% cmd/%,$(SOURCES))) | xargs -P$(JOBS) -I{} sh -c
LINT     := -include hack/lint.h
ANALYZER := -fanalyzer $(addprefix -Wno-analyzer-,malloc-leak null-dereference use-after-free use-of-uninitialized-value)
lint-analyzer: | $(LIBS)/lib/.done
	$(Q)$(each_source) 'gcc $(CPPFLAGS) $(CFLAGS) $(LINT) $(ANALYZER) -c -o /dev/null {}'
lint-tidy: | $(LIBS)/lib/.done
	$(Q)$(each_source) 'clang-tidy --quiet {} -- $(CPPFLAGS) $(LINT) -std=gnu17 2>/dev/null'
install: all                 ## programs into DESTDIR/PREFIX/bin, licences beside them
	install -D -t $(DESTDIR)$(PREFIX)/bin $(BINS)
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/gpucc README.md LICENSE $(LIBS)/versions
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/gpucc/LICENSES LICENSES/*
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/gpucc/copyright $(LIBS)/copyright/*
clean:                       ## remove what was built (libraries stay in ~/.cache/gpucc)
	rm -rf build build-*
.PHONY: all tests tests-fuzz help demo test check e2e fuzz bench arm64 lint format lint-layers lint-style lint-shell \
	lint-analyzer lint-tidy install clean FORCE
