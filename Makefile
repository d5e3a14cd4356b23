# Everything that is done with a checkout. Needs Python 3.11 or newer as `python3`, and nothing else.

PYTHON ?= python3
BIN := .venv/bin
PACKAGES := gateway config chat rollout metrics api simulator tests
# More arguments for pytest: make test ARGS="-k rollout"
ARGS ?=

# Another project's, if the shell has one.
unexport DJANGO_SETTINGS_MODULE

.PHONY: run demo test check schema format lock clean bench bench-streams bench-route bench-growth

run: .venv/.installed
	@$(BIN)/python -m config.stack

demo: .venv/.installed
	@$(BIN)/python -m config.stack --demo

# The whole suite, two workers at a time, and what uses the database on the other one too, also when the first run fails.
test: .venv/.installed-dev
	@browser=; $(BIN)/python -m tests.services.chromium; found=$$?; \
	if [ $$found = 3 ]; then browser='not browser'; elif [ $$found != 0 ]; then exit 1; fi; \
	failed=0; only=; \
	for database in sqlite postgres; do \
		TEST_DATABASE=$$database $(BIN)/python -m pytest -n 2 -m "$$browser" $$only $(ARGS) || failed=1; \
		only=--database-tests; \
	done; \
	exit $$failed

# Settings want a key and a place for the database; the checks use neither.
check: export SECRET_KEY = for-checks-alone-and-long-enough-to-be-taken
check: export DATABASE_URL = sqlite://:memory:
check: .venv/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(PACKAGES)
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

# The API as others read it; a test holds it against the code.
schema: export SECRET_KEY = for-checks-alone-and-long-enough-to-be-taken
schema: export DATABASE_URL = sqlite://:memory:
schema: .venv/.installed
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

# The door beside its peers: make bench ARGS="--litellm DIR --portkey DIR"
bench: .venv/.installed-dev
	$(BIN)/python -m benchmarks.door.run $(ARGS)

# Chat answers that stream at once through one web process; ARGS="--only 500,20,60" for one line of it.
bench-streams: .venv/.installed-dev
	$(BIN)/python -m benchmarks.streams.run $(ARGS)

# A route beside other flags, and the plot of all figures; their packages are no part of Sluice.
bench-route: .venv/.installed-dev .venv-peers/.installed
	$(BIN)/python -m benchmarks.time_route --peers .venv-peers $(ARGS)

bench-growth: .venv/.installed-dev .venv-peers/.installed
	$(BIN)/python -m benchmarks.growth --peers .venv-peers

.venv-peers/.installed: benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install -qq --disable-pip-version-check -r benchmarks/peers.txt
	@touch $@

format: .venv/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Pins what the requirements*.in ask for; LOCK="--upgrade" takes newer versions.
LOCK ?=
COMPILE = $(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-strip-extras $(LOCK)
lock: .venv/.installed
	$(BIN)/python -m pip install -qq uv
	$(COMPILE) requirements.in -o requirements.txt
	$(COMPILE) requirements-otel.in -o requirements-otel.txt
	$(COMPILE) requirements-dev.in -o requirements-dev.txt

clean:
	rm -rf .venv .venv-peers staticfiles test-results .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

OLD_PYTHON := Sluice needs Python 3.11 or newer. Choose one: make run PYTHON=python3.12

.venv/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("$(OLD_PYTHON)" if sys.version_info < (3, 11) else 0)'
	@echo "Installing the packages of requirements.txt into .venv …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

.venv/.installed-dev: requirements-dev.txt .venv/.installed
	@echo "Installing the packages of requirements-dev.txt into .venv …"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
