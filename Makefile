# The one task runner. Everything works from a fresh checkout: targets make .venv when it is missing.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help setup lock run demo test test-long properties check check-types check-rules fmt e2e sim sim-gossip kill interop fuzz jepsen bench bench-mesh native docs reference clean interop-clients

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q agent raftstore gossip proxy jepsen-lite # as pip does with what it copies
	@touch $(STAMP)

setup: $(STAMP) ## make .venv from requirements.lock, with the program in .venv/bin/lictor

lock: $(STAMP) ## renew requirements.lock from pyproject.toml (wants pip-tools)
	pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --strip-extras --extra dev --allow-unsafe --output-file requirements.lock pyproject.toml

run: setup ## start a development agent on 127.0.0.1:8500 (HTTP) and 8600 (DNS)
	$(BIN)/lictor agent -dev

demo: setup ## three servers, two clients, two services with sidecars; shows the journeys, cleans up
	$(BIN)/python docs/examples/demo.py

test: setup ## all tests: first what only computes or replays, then whole agents, last what watches times
	$(BIN)/python -m tests.phases

test-long: setup ## what takes too long for `make test`
	$(BIN)/python -m pytest -q -m long

properties: setup ## property tests and simulations with more examples and seeds than `make test` draws
	$(BIN)/python -m pytest -q -m "not e2e and not interop and not calm and not alone" \
	  --hypothesis-profile=thorough $(if $(RUNS),--runs $(RUNS))

check: setup ## style, types, import contracts and the rules about the repository
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target check-types check-rules

check-types: setup
	$(BIN)/mypy

check-rules: setup
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/repo

fmt: setup ## format, and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

e2e: setup ## the four journeys on real processes
	$(BIN)/python -m pytest tests/e2e

sim: setup ## seeded simulation; SEED=n repeats one run, RUNS=n makes more of them
	$(BIN)/python -m pytest tests/sim $(if $(SEED),--seed $(SEED)) $(if $(RUNS),--runs $(RUNS))

sim-gossip: setup ## rings of up to SIZE=10000 members: detection, false alarms, load; ONLY=section, SEED=n
	$(BIN)/python -m tests.gossip_lab $(if $(ONLY),--only $(ONLY)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(SIZE),--size $(SIZE)) $(if $(OUT),--out $(OUT))

kill: setup ## kill -9 all servers in the middle of a load, ROUNDS=20 times; nothing may be lost
	$(BIN)/python -m pytest tests/raftstore/raft/test_kill.py --kill-rounds=$(or $(ROUNDS),20) --timeout=900

interop-clients: ## Consul's clients of other languages for the tests, into .interop
	$(PYTHON) -m venv .interop
	.interop/bin/pip install --quiet --disable-pip-version-check --require-hashes \
	  -r tests/interop/clients.txt
	mkdir -p .interop/ansible && rm -f .interop/ansible/*.whl
	.interop/bin/pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
	  --dest .interop/ansible -r tests/interop/collections.txt
	.interop/bin/python tests/interop/unpack_collection.py .interop/ansible community/general
	rm -f .interop/ansible/*.whl
	mkdir -p .interop/npm
	cp tests/interop/npm/package.json tests/interop/npm/package-lock.json .interop/npm
	! command -v npm >/dev/null || npm ci --silent --no-fund --no-audit --ignore-scripts \
	  --prefix .interop/npm

interop: setup ## against foreign programs (serf, dig, DNS servers, haproxy, clients of Consul)
	$(BIN)/python -m pytest -m interop

fuzz: setup ## coverage-guided fuzzing of all that reads bytes of the ring, SECONDS=60; wants atheris
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(if $(ONLY),--only $(ONLY))

jepsen: setup ## break real clusters in 50 ways for SECONDS=60 each and check what clients saw
	$(BIN)/python -m pytest -q tests/jepsen_lite/test_controls.py
	$(BIN)/python -m jepsen_lite suite --seconds $(or $(SECONDS),60) --seed $(or $(SEED),1)

bench: setup ## floors and our figures beside them, as ratios
	$(BIN)/python -m tests.bench

native: setup ## compile the proxy's hot modules beside the source; sidecars use them while they fit it
	$(BIN)/python -m agent.connect.native_build

bench-mesh: setup ## our pair of sidecars beside a pair of Envoys (wants wrk, nginx, and ENVOY=path or the wheel)
	$(BIN)/python -m agent.connect.native_build || echo "without the compiled form (see above)"
	$(BIN)/python -m tests.bench.mesh --rounds $(or $(ROUNDS),5) $(if $(ONLY),--only "$(ONLY)")

reference: setup ## the reference pages, made of the program: commands, keys, man page
	$(BIN)/python -m agent.cli.reference docs/reference

clean: ## remove what the targets made
	rm -rf .venv .interop .lictor-native .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
