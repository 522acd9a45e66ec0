# What a user runs: build, test, demo. What a developer runs: lint, bench, fmt, check. CI runs the same targets.
#
#   make test RACE=1            with the race detector (needs a C compiler)
#   make test LICET_REQUIRE=all every missing part (PostgreSQL, ...) is a failure, not a skip
#   make demo-check BREAK=store|ledger|activation-server    shows that the check notices one changed fact

SHELL   := /bin/bash
MODULES := shared agent coordinator
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
TOOL    := GOWORK=off go tool -modfile=$(CURDIR)/scripts/tools/go.mod

export LICET_REQUIRE

.PHONY: build test lint bench demo demo-check fmt tidy check clean help

help:
	@grep -E '^#' Makefile | sed 's/^# \{0,1\}//'

build:
	@mkdir -p bin
	@scripts/progress "building licet-agent, licet-sim, licet-coordinator, licet (the first time: minutes)" \
		go build -trimpath -ldflags "$(LDFLAGS)" -o bin/ ./agent/cmd/... ./coordinator/cmd/... ./coordinator/internal/e2e/licet-demo

test:
	@go run scripts/testsum/main.go $(if $(RACE),-race) $(if $(RUN),-run '$(RUN)') $(addprefix ./,$(addsuffix /...,$(MODULES)))

lint:
	@scripts/check-imports
	@scripts/check-modules
	@for m in $(MODULES); do echo "lint: $$m"; (cd $$m && $(TOOL) golangci-lint run --allow-parallel-runners -c ../.golangci.yml ./...) || exit 1; done

# Ratios to a baseline in the same run; nothing here passes or fails by time.
bench:
	@go test -run '^$$' -bench . -benchmem $(BENCHFLAGS) $(addprefix ./,$(addsuffix /...,$(MODULES)))

demo: build
	@bin=$(CURDIR)/bin scripts/demo

demo-check: build
	@bin=$(CURDIR)/bin scripts/demo --check $(if $(BREAK),--break $(BREAK))

fmt:
	@for m in $(MODULES); do (cd $$m && $(TOOL) golangci-lint fmt -c ../.golangci.yml ./...) || exit 1; done

tidy:
	@for m in $(MODULES); do (cd $$m && GOWORK=off go mod tidy) || exit 1; done

check: lint test demo-check

clean:
	rm -rf bin dist
