# The two commands of the README are `make demo` and `make test`. Each installs the Debian
# packages that it lacks (scripts/debian-packages), or prints the line to type.

CARGO ?= cargo
# Arguments of the demo, e.g. make demo DEMO="--port-base 20000"
DEMO ?=
# Arguments of the tests, e.g. make test TEST="--test all smtp"
TEST ?=

.PHONY: help demo test deps build check bench

help:
	@echo "make demo   builds the relay and runs a whole trust space on this machine"
	@echo "make test   runs every test"
	@echo "make deps   installs the Debian packages that building and testing need"
	@echo "make build  builds target/release/vaguemestre"
	@echo "make check  format and clippy, as .ci/run does"
	@echo "make bench  measures; docs/performance.md says what"

demo: build
	@./target/release/vaguemestre demo $(DEMO)

test:
	@scripts/need test
	$(CARGO) test --locked $(TEST)

deps:
	@scripts/need test

build:
	@scripts/need build
	$(CARGO) build --release --locked

check:
	@scripts/need build
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

bench:
	@scripts/need test
	$(CARGO) bench --locked
