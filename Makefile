# Needs python3 (3.11 or newer) with pip, and make. Everything else goes into .venv, from the hashed locks in requirements/.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
RUN := $(VENV)/bin/python
LOCK = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

# The first Python that is new enough; PYTHON=… chooses another one.
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$python"; break; }; done)
endif

.PHONY: help up images manifests test fuzz-api fuzz-images test-uploads test-crash test-rotation test-flood test-rolling test-timing test-combinations test-cluster bench-signin bench-images bench-gateway lint format lock clean require-python install-local install-dev

help: ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf '%-18s %s\n' "$$target" "$$text"; done

up: install-local ## Run the whole system here, until Ctrl-C (ARGS="--port-base 18000" …)
	@exec $(RUN) manage.py up $(ARGS)

IMAGES := gateway auth images console
BUILD ?= docker build
PREFIX ?= seawall-
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
COMMIT_TIME ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
TAG ?= $(VERSION)

images: ## Build the images of the roles (BUILD=, PREFIX=, TAG=, BASE=; LOAD= for what is done with each one's name)
	@for target in $(IMAGES); do \
		$(BUILD) --target $$target --tag $(PREFIX)$$target:$(TAG) $(if $(BASE),--build-arg BASE=$(BASE)) \
			--build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) \
			--build-arg SOURCE_DATE_EPOCH=$(COMMIT_TIME) . || exit 1; \
		$(if $(LOAD),$(LOAD) $(PREFIX)$$target:$(TAG) || exit 1;) \
	done

test: install-dev ## Run every test (ARGS="SUITE …" for some)
	@$(RUN) -m tests $(ARGS)

fuzz-api: install-dev ## Attack the public API for longer than `make test` does
	@$(RUN) -m tests fuzz-api $(ARGS)

fuzz-images: install-dev ## Send 20,000 damaged and forged images: refused or made harmless, in bounded memory
	@$(RUN) -m tests fuzz-images $(ARGS)

test-uploads: install-dev ## Upload the largest legal images, 20 at once: bounded memory, an answer for everybody
	@$(RUN) -m tests uploads $(ARGS)

test-crash: install-dev ## Kill the images role 500 times while people upload, and miss nothing that was acknowledged
	@$(RUN) -m tests crash $(ARGS)

test-rotation: install-dev ## Rotate signing keys under load (ARGS=rotation-default: with the times of production, too)
	@$(RUN) -m tests rotation $(ARGS)

test-flood: install-dev ## Sign in 200 people at once: answers in time, bounded memory, exact limits
	@$(RUN) -m tests flood $(ARGS)

test-rolling: install-dev ## Replace every process of every role under 200 requests a second: none of 20,000 fails
	@$(RUN) -m tests rolling $(ARGS)

test-timing: install-dev ## Measure that answers take the same time whether an account exists or not
	@$(RUN) -m tests timing $(ARGS)

test-combinations: install-dev ## Build every one of the supported combinations of components, by kubectl and kustomize
	@$(RUN) -m tests combinations $(ARGS)

test-cluster: install-dev ## Prove the system on the cluster of SEAWALL_CONTEXT, with its Ingress at SEAWALL_HTTPS and SEAWALL_HTTP
	@$(RUN) -m tests cluster $(ARGS)

bench-signin: install-dev ## Measure what a sign-in costs beside its hash, tokens a second, memory in a flood
	@$(RUN) -m benchmarks.signin $(ARGS)

bench-images: install-dev ## Measure reads beside bare nginx and Go, uploads beside their work, stores that grow (ARGS=--quick)
	@$(RUN) -m benchmarks.images $(ARGS)

bench-gateway: install-dev ## Measure requests through the gateway beside a bare view, how fresh answers are, overload (ARGS=--quick)
	@$(RUN) -m benchmarks.gateway $(ARGS)

lint: install-dev ## Check style, types and the boundaries between apps
	@$(RUN) -m tests checks

format: install-dev ## Put the code in form
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

manifests: install-dev ## Render nginx's configuration for the pods of files from config/files
	@$(RUN) -m ops.cluster.rendering

lock: install-dev ## Resolve the dependencies of pyproject.toml again
	$(LOCK) pyproject.toml --extra dev --output-file requirements/dev.txt
	for extra in gateway auth images console local; do \
		$(LOCK) pyproject.toml --extra $$extra --constraints requirements/dev.txt \
			--output-file requirements/$$extra.txt || exit 1; \
	done
	$(LOCK) --group postgresql-client --no-deps --constraints requirements/dev.txt \
		--output-file requirements/postgresql-client.txt

clean: ## Remove .venv and what tools have left; data in .seawall stays
	rm -rf $(VENV) build dist htmlcov .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.seawall*' -prune -exec rm -rf {} +

require-python:
	@python='$(PYTHON)'; "$${python:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Seawall needs Python 3.11 or newer, and $${python:-python3} is not: install the package python3" \
		"of a newer release, or name another one with make PYTHON=/path/to/python" >&2; exit 1; }

install-local: require-python
	@$(PYTHON) ops/bootstrap.py $(VENV) local

install-dev: require-python
	@$(PYTHON) ops/bootstrap.py $(VENV) dev
