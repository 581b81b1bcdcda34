# make            lists the targets
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT   ?= 8000

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev warm serve test test-slow check format bench bench-serving load clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/.runtime: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(BIN)/.dev: requirements.txt requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $(BIN)/.runtime $@

setup: $(BIN)/.runtime ## create the environment and install what running needs

setup-dev: $(BIN)/.dev ## the same, with what tests and benchmarks need

warm: setup ## compile all kernels ahead and check them
	$(BIN)/python -m kernels.warm

serve: warm ## serve the sample market on port 8000 (PORT), with a curl to try
	@printf '\nServing the sample market. Try:\n\n  curl -s -X POST http://127.0.0.1:%s/api/analyze -H "Content-Type: application/json" -d '\''{"tickers": ["AAPL", "SIM001"]}'\''\n\n' "$(PORT)"
	BQ_MARKET=$${BQ_MARKET:-sample} PORT=$(PORT) $(BIN)/python server.py

test: setup-dev ## the fast tests
	$(BIN)/python -m kernels.warm
	$(BIN)/python -m pytest

test-slow: setup-dev ## the tests that take minutes, and new examples for the property tests
	$(BIN)/python -m pytest -m slow
	$(BIN)/python -m pytest -m "hypothesis and not slow" --hypothesis-profile=explore

check: setup-dev ## what CI runs: format, lint, types, import contracts, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m kernels.warm
	$(BIN)/python -m pytest

format: setup-dev ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup-dev ## measure against the references, as ratios, and write benchmarks/README.md
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.report

bench-serving: setup-dev ## measure the server against a bare handler, Fastify and the old way; write benchmarks/README.md
	$(BIN)/python -m kernels.warm
	$(BIN)/python -m benchmarks.bench_serving

load: setup-dev ## locust against a running server, headless for 30 s
	$(BIN)/locust -f benchmarks/locustfile.py --headless --only-summary -u 200 -r 50 -t 30s \
	    --host http://127.0.0.1:$(PORT) $(if $(LOAD_TAGS),--tags $(LOAD_TAGS),--exclude-tags cold)

clean: ## remove the environment and everything compiled
	rm -rf $(VENV) kernels/.cache .pytest_cache .mypy_cache .ruff_cache
