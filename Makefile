PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
# Tests that put load on the machine, or start half a hundred processes: two files at a time, and nothing else beside them.
ALONE := tests/strangers tests/conformance tests/clients tests/resilience tests/monitoring
# What measures the processors' time: nothing runs beside it.
MEASURED := tests/cost
# All others, in files shared among processes: the longest first.
SHARED := tests/integration $(filter-out tests/integration tests/containers $(ALONE) $(MEASURED),$(patsubst %/,%,$(sort $(dir $(wildcard tests/*/test_*.py)))))
# What is also run against the images of NATS, Valkey and Redis: the suites of the bus and of the store.
ON_IMAGES := $(addprefix tests/integration/test_,bus_client.py bus_connection.py bus_cluster.py bus_nkeys.py store.py)
# Other gateways, which the bench measures beside Busbar: each installed by its own lock.
PEERS_PYTHON := mcpo mcp-proxy fastmcp litellm contextforge
PEERS_NODE := mcp-hub supergateway
PEERS := $(patsubst %,.peers/%/.installed,$(PEERS_PYTHON) $(PEERS_NODE))
PEER_LOCKS := tests/bench/peers/locks
STRANGERS := $(addprefix .strangers/,python/.installed sqlite/.installed node/.installed)

.DEFAULT_GOAL := help
.PHONY: help install install-dev strangers peers up test test-containers test-images check format schemas lock \
	dashboards bench bench-capacity bench-peers bench-containers chaos soak clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## Install everything that runs into .venv
install-dev: $(INSTALLED_DEV)
strangers: $(STRANGERS)  ## Install other people's MCP servers and clients, for tests
peers: $(PEERS)  ## Install other gateways, for bench-peers

up: $(INSTALLED)  ## Start the whole system on this machine (Ctrl-C drains and stops it)
	@exec $(BIN)/busbar up $(ARGS)

test: $(INSTALLED_DEV) strangers  ## Run all tests (ARGS="-k name" for some)
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@BUSBAR_TEST_WARM_START=1 $(BIN)/python -m pytest --durations=15 --numprocesses 3 --dist loadfile --no-loadscope-reorder $(SHARED)
	@$(BIN)/python -m pytest --durations=15 --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ALONE)
	@$(BIN)/python -m pytest $(MEASURED)
endif

test-containers: $(INSTALLED_DEV)  ## Test docker-compose.prod.yml on a Docker engine: answers, security, rolling, TLS
	@$(BIN)/python -m pytest --durations=15 $(or $(ARGS),tests/containers)

test-images: $(INSTALLED_DEV)  ## Run the suites of bus and store against container images (ARGS=tests/integration: all)
	@BUSBAR_TEST_IMAGES=1 $(BIN)/python -m pytest --durations=15 $(or $(ARGS),$(ON_IMAGES))

check: $(INSTALLED_DEV)  ## Lint, types, import contracts, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m bus_schemas.asyncapi --check
	@$(BIN)/python -m monitoring.grafana.build --check

format: $(INSTALLED_DEV)  ## Format the code and sort its imports
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

schemas: $(INSTALLED)  ## Write docs/asyncapi.json anew from bus_schemas
	@$(BIN)/python -m bus_schemas.asyncapi

dashboards: $(INSTALLED_DEV)  ## Write the Grafana dashboards anew from monitoring/grafana
	@$(BIN)/python -m monitoring.grafana.build

bench: $(INSTALLED_DEV)  ## Measure 100, 200 and 1,000 callers at once (docs/load-testing.md)
	@$(BIN)/python -m tests.bench.concurrency

bench-capacity: $(INSTALLED_DEV)  ## Measure what one Busbar holds: hits, waiting callers, servers, start (ARGS=hits: one row)
	@$(BIN)/python -m tests.bench.capacity $(ARGS)

bench-peers: $(INSTALLED_DEV) peers  ## Measure Busbar beside other gateways (ARGS="--seconds 1 --rounds 1" for a quick look)
	@$(BIN)/python -m tests.bench.peers $(ARGS)

bench-containers: $(INSTALLED_DEV)  ## Scale, roll, upgrade and break a deployment under load, with the ledger
	@$(BIN)/python -m tests.containers.rolling $(ARGS)

chaos: $(INSTALLED_DEV)  ## One fault after another under load, with ledgers (ARGS="--short nats-killed" for less)
	@$(BIN)/python -m tests.chaos $(ARGS)

soak: $(INSTALLED_DEV)  ## Twenty minutes of all of it in turn
	@$(BIN)/python -m tests.chaos --soak 20 $(ARGS)

lock: $(INSTALLED_DEV)  ## Resolve the pinned requirements anew
	@$(COMPILE) pyproject.toml -o requirements/runtime.txt
	@$(COMPILE) --extra dev pyproject.toml -o requirements/dev.txt
	@$(COMPILE) requirements/strangers.in -o requirements/strangers.txt
	@$(COMPILE) requirements/strangers-sqlite.in -o requirements/strangers-sqlite.txt
	@for peer in $(PEERS_PYTHON); do $(COMPILE) $(PEER_LOCKS)/$$peer.in -o $(PEER_LOCKS)/$$peer.txt || exit; done

clean:  ## Remove .venv and every cache
	@rm -rf $(VENV) .strangers .peers .mypy_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis *.egg-info build

# Debian keeps venv in a package of its own; where it is missing and we may, we install it.
$(BIN)/python:
	@$(PYTHON) -m venv $(VENV) || { apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv --clear $(VENV); }

$(INSTALLED): requirements/runtime.txt pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/runtime.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(INSTALLED_DEV): requirements/dev.txt $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

.strangers/python/.installed: requirements/strangers.txt
.strangers/sqlite/.installed: requirements/strangers-sqlite.txt
.strangers/python/.installed .strangers/sqlite/.installed: | $(BIN)/python
	@$(BIN)/python -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --require-hashes --no-deps -r $<
	@touch $@

.strangers/node/.installed: tests/strangers/package.json tests/strangers/package-lock.json
	@mkdir -p $(@D)
	@cp $^ $(@D)
	@if command -v npm >/dev/null; then npm ci --prefix $(@D) --loglevel=error --ignore-scripts && touch $@; \
	else echo "there is no npm here: the tests with what comes from npm will be skipped"; fi

# A peer that does not install stops nobody: the bench names it, with the last line of its log.
$(patsubst %,.peers/%/.installed,$(PEERS_PYTHON)): .peers/%/.installed: $(PEER_LOCKS)/%.txt | $(BIN)/python
	@$(BIN)/python -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --require-hashes --no-deps -r $< 2>$(@D)/install.log && touch $@ \
	|| echo "$* is not installed: $$(tail -n 1 $(@D)/install.log)"

$(patsubst %,.peers/%/.installed,$(PEERS_NODE)): .peers/%/.installed: $(PEER_LOCKS)/%/package.json $(PEER_LOCKS)/%/package-lock.json
	@mkdir -p $(@D)
	@cp $^ $(@D)
	@npm ci --prefix $(@D) --loglevel=error --ignore-scripts >/dev/null 2>$(@D)/install.log && touch $@ \
	|| echo "$* is not installed: $$(tail -n 1 $(@D)/install.log)"
