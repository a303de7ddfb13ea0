# The front door. Each target is a line or two; the work is in scripts/ and
# in the esca command.

CARGO ?= cargo
ESCA  := target/release/esca

.PHONY: all build setup setup-test demo test bench lint \
	nginx-launch nginx-esca-launch lighttpd-launch lighttpd-esca-launch \
	redis-launch redis-esca-launch lwan-launch lwan-esca-launch

all: build

build:          ## release build of the library and the tools
	$(CARGO) build --release -p esca-preload -p esca-shim -p esca-cli

setup:          ## install the Debian packages that are missing
	sh scripts/setup.sh demo

setup-test:
	sh scripts/setup.sh demo test suites matrix-small vm

demo: setup build   ## unmodified nginx without and with ESCA, side by side
	$(ESCA) demo $(SERVER)

test: setup-test build   ## every test, on the release build of the library
	ESCA_LIB=$(CURDIR)/target/release/libesca_preload.so $(CARGO) test --workspace
	@$(MAKE) --no-print-directory vm-test-short

bench: setup build  ## measure; writes the data file, the plots and the README's table
	$(ESCA) bench --json docs/figures/bench.json --plots docs/figures \
		--html target/bench.html $(BENCH)
	$(ESCA) bench --from docs/figures/bench.json --readme README.md

lint:           ## formatting and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# The launch pairs of the published ESCA, on its ports, in the foreground.
nginx-launch: build
	$(ESCA) serve nginx --port 8081
nginx-esca-launch: build
	$(ESCA) serve nginx --port 8081 --esca
lighttpd-launch: build
	$(ESCA) serve lighttpd --port 3000
lighttpd-esca-launch: build
	$(ESCA) serve lighttpd --port 3000 --esca
redis-launch: build
	$(ESCA) serve redis --port 6379
redis-esca-launch: build
	$(ESCA) serve redis --port 6379 --esca
lwan-launch: build
	LWAN=$(LWAN) $(ESCA) serve lwan --port 8080
lwan-esca-launch: build
	LWAN=$(LWAN) $(ESCA) serve lwan --port 8080 --esca

# The kernel module (docs/kmod.md). KDIR: the kernel's headers.
KDIR ?= /lib/modules/$(shell uname -r)/build
.PHONY: kmod load-lkm unload-lkm
kmod:           ## the kernel module, for the kernel of KDIR
	@$(MAKE) --no-print-directory -C kmod KDIR=$(KDIR)
load-lkm: kmod  ## load it (LKM_ARGS: module parameters)
	sh kmod/load.sh $(LKM_ARGS)
unload-lkm:     ## unload it, once nobody uses it
	sh kmod/unload.sh

# Virtual machines with Debian's kernels, under QEMU (docs/testing-vm.md).
# VM="--kernel 6.1 --pti on" chooses among them.
.PHONY: setup-vm build-vm vm-count vm-test vm-test-short vm-bench
setup-vm:
	sh scripts/setup.sh vm
build-vm: setup-vm build
	$(CARGO) build --workspace --bin esca-vm --bin esca-vm-guest
vm-count: build-vm   ## instructions per request: plain, and with ESCA
	target/debug/esca-vm count $(VM)
vm-test: build-vm    ## the kernel module on 6.12 and 6.1, with and without page-table isolation
	target/debug/esca-vm test $(VM)
vm-test-short: build-vm ## the same in short, on 6.12
	target/debug/esca-vm test --short $(VM)
vm-bench: build-vm   ## operations by plain calls and by table, for each batch size; docs/kmod.md's tables
	target/debug/esca-vm bench --json docs/figures/vm-bench.json --page docs/kmod.md $(VM)

# The module under a kernel that looks for faults: KASAN, lockdep, kmemleak.
# Debian's source, built under target/vm/debug once (docs/testing-vm.md).
.PHONY: vm-test-debug
vm-test-debug: build-vm
	sh scripts/setup.sh vm-debug
	target/debug/esca-vm debug $(VM)

# Fuzzing: the parsers of settings and of statistics, and the operation table.
# cargo-fuzz wants nightly's flags, which a stable compiler takes this way.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := settings stats op_table
.PHONY: fuzz
fuzz:           ## each target for FUZZ_SECONDS (cargo install cargo-fuzz first)
	@cargo fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	set -e; for target in $(FUZZ_TARGETS); do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1; \
	done

# Other people's suites: Redis's, lighttpd's and memcached's own tests, from
# Debian's source packages, without and with ESCA. SUITES="--only redis" for
# a part. `make test` runs a small part of each.
.PHONY: suites
suites: build
	sh scripts/setup.sh suites
	ESCA_LIB=$(CURDIR)/target/release/libesca_preload.so \
		$(CARGO) run -q -p esca-upstream -- $(SUITES)

# The differential model (docs/testing.md): programs, then scenes.
.PHONY: soak
soak: build     ## random programs with and without ESCA, for SOAK_SECONDS
	ESCA_LIB=$(CURDIR)/target/release/libesca_preload.so \
		$(CARGO) run -q -p esca-model -- soak $(SOAK)
	$(CARGO) build -q -p esca-model --bins --examples
	ESCA_LIB=$(CURDIR)/target/release/libesca_preload.so \
		$(CARGO) run -q -p esca-model -- hunt $(HUNT)

# Debian packages: esca (library, tools, pages) and esca-dkms (the module's
# sources), in target/debian. cargo-deb comes from crates.io where it is missing.
.PHONY: deb setup-deb test-deb
deb: build      ## both packages
	@cargo deb --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deb
	$(ESCA) generate target/generated
	$(CARGO) deb -q -p esca-cli --no-build --strip
	$(CARGO) deb -q -p esca-kmod --no-build
setup-deb:
	sh scripts/setup.sh deb
test-deb: setup-deb deb  ## install, use and purge them in a clean root (as root, minutes)
	lintian --fail-on error target/debian/*.deb
	$(CARGO) test -p esca-cli --test deb -- --ignored --nocapture

# Faults at scale (docs/testing.md): the tests of crates/suite/tests/faults_*
# with 10,000 connections, hundreds of clients, reloads by the dozen.
.PHONY: stress
stress: setup-test build
	ESCA_STRESS=1 ESCA_LIB=$(CURDIR)/target/release/libesca_preload.so \
		$(CARGO) test -p esca-suite --test 'faults_*' -- --nocapture $(STRESS)

# The compatibility matrix: unmodified Debian programs, without and with ESCA,
# bytes compared; writes docs/compatibility.md. MATRIX="--only redis" for a part.
.PHONY: matrix
matrix: build
	sh scripts/setup.sh matrix-small matrix
	ESCA_LIB=$(CURDIR)/target/release/libesca_preload.so $(CARGO) run -q -p esca-matrix -- \
		$(if $(MATRIX),$(MATRIX),--table docs/compatibility.md)

# Models of what the engine's threads share, under every interleaving. In a
# directory of its own: --cfg loom is another build of everything.
.PHONY: loom
loom:
	RUSTFLAGS="--cfg loom" CARGO_PROFILE_RELEASE_LTO=off CARGO_TARGET_DIR=target/loom \
		$(CARGO) test -p esca-engine --release --test loom -- --nocapture $(LOOM)

# Another instruction set, emulated (docs/testing.md).
.PHONY: test-aarch64
test-aarch64:   ## the engine and nginx with the library, on aarch64
	sh scripts/test-aarch64.sh

# valgrind's memcheck: the engine's tests, and the library in the actor's
# processes (docs/testing.md). Left out are tests about descriptors and memory
# that run out, which valgrind needs for itself, exec, which ends it, and one
# that counts signals.
VALGRIND := valgrind -q --error-exitcode=99 --num-callers=25
VALGRIND_TESTS := custody order linger others pressure faults bound watch threads hot_path
.PHONY: valgrind
valgrind: setup-test build
	sh scripts/setup.sh valgrind
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(VALGRIND)" \
		$(CARGO) test -p esca-engine $(VALGRIND_TESTS:%=--test %) -- --test-threads=1
	ESCA_UNDER="$(VALGRIND)" ESCA_LIB=$(CURDIR)/target/release/libesca_preload.so \
		$(CARGO) test -p esca-suite --test contract_streams --test contract_heirs \
		--test contract_process --test contract_threads -- --test-threads=2 \
		--skip exec --skip a_signal_handler

# The engine's tests with threads under ThreadSanitizer (docs/testing.md).
# Sanitizers want nightly's flags, which a stable compiler takes this way.
TSAN_TESTS := threads pressure order custody linger
.PHONY: tsan
tsan:
	RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=target/tsan \
	RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg esca_tsan" \
	TSAN_OPTIONS="suppressions=$(CURDIR)/crates/engine/tests/tsan.supp" \
		$(CARGO) test -p esca-engine --target $$(rustc -vV | sed -n 's/host: //p') \
		$(TSAN_TESTS:%=--test %)
