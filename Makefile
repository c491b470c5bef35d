# Everything happens in folders of this checkout: .venv, .venv-awscli, .venv-benchmark, .matrix, .mutation, .demo.
# PYTHON: any Python 3.11 or newer.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
UV := $(BIN)/uv --quiet --system-certs --no-config
# Airflow takes long to start where Python may not keep what it compiled.
unexport PYTHONDONTWRITEBYTECODE
INSTALLED := .venv/installed
AWSCLI := .venv-awscli/installed
BENCHMARK := .venv-benchmark/installed
MUTATION := .venv/mutation-installed

# A file is one worker's; the first to start, tests/test_airflow.py, takes longest. A test that hangs fails.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder --timeout 300

.PHONY: help demo test matrix installed faults soak mutation model lint check benchmark constraints clean

help:
	@echo 'make demo         watch the example DAG run on a real Airflow, without AWS (KEEP=1 leaves it up)'
	@echo 'make test         run the test suite (ARGS="-k sensors" gives pytest arguments of your own)'
	@echo 'make matrix       run the test suite on every Airflow that is supported (ARGS="--rows newest-3.0" on some)'
	@echo 'make installed    install the wheel beside what the images of Amazon MWAA have, and look at it there'
	@echo 'make faults       break everything around 2,000 waits of a real Airflow, and print what became of them'
	@echo 'make soak MINUTES=10  let a steady stream of waits through one triggerer, and see whether anything grows'
	@echo 'make mutation     change ten modules a little, and see whether tests notice (ARGS="_starting/goals" takes one)'
	@echo 'make model        run 5,000 random histories of tasks that start jobs, then break the code and see it found'
	@echo 'make benchmark    measure waits in the triggerer, pokes, and operators with many read sets'
	@echo 'make lint         linter, formatter check and type check'
	@echo 'make check        lint and test'
	@echo 'make constraints  pin the newest versions of everything'
	@echo 'make clean        remove what the other targets made'

demo: $(INSTALLED)
	@$(BIN)/python scripts/demo.py $(if $(KEEP),--keep)

test: $(INSTALLED) $(AWSCLI)
	$(BIN)/python -m pytest $(or $(ARGS),$(PARALLEL))

matrix: $(INSTALLED) $(AWSCLI)
	$(BIN)/python scripts/matrix.py $(PARALLEL) $(ARGS)

installed: $(INSTALLED)
	$(BIN)/python -m pytest tests/installed $(ARGS)

faults: $(INSTALLED)
	$(BIN)/python -m pytest tests/faults -s $(ARGS)

soak: $(INSTALLED)
	$(BIN)/python scripts/soak.py --minutes $(or $(MINUTES),10)

mutation: $(MUTATION)
	$(BIN)/python scripts/mutation.py $(ARGS)

model: $(INSTALLED)
	MODEL_HISTORIES=5000 $(BIN)/python -m pytest tests/_starting/test_model.py --timeout 0 $(ARGS)
	$(BIN)/python scripts/breakages.py

benchmark: $(BENCHMARK)
	.venv-benchmark/bin/python benchmarks/triggerer.py
	.venv-benchmark/bin/python benchmarks/poke.py
	.venv-benchmark/bin/python benchmarks/bulk.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

$(INSTALLED): pyproject.toml Makefile constraints/main.txt constraints/build.txt constraints/uv.txt
	@test -n '$(PYTHON)' || { echo 'No Python 3.11 or newer was found; name one: make PYTHON=/path/to/python3'; exit 1; }
	@echo 'Setting up .venv; this is done once.'
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r constraints/uv.txt
	@$(UV) pip install --python $(BIN)/python -c constraints/main.txt --build-constraints constraints/build.txt -e '.[local]' --group test --group lint --group demo
	@touch $@

# The AWS CLI pins its own botocore, so it gets an environment of its own.
$(AWSCLI): $(INSTALLED) constraints/awscli.txt
	@$(PYTHON) -m venv --clear --without-pip .venv-awscli
	@$(UV) pip install --python .venv-awscli/bin/python -r constraints/awscli.txt
	@touch $@

# aiobotocore, which the Amazon provider's triggers need, pins an older botocore.
$(BENCHMARK): $(INSTALLED) constraints/benchmark.txt
	@$(PYTHON) -m venv --clear --without-pip .venv-benchmark
	@$(UV) pip install --python .venv-benchmark/bin/python -c constraints/benchmark.txt --build-constraints constraints/build.txt -e '.[local]' --group benchmark
	@touch $@

$(MUTATION): $(INSTALLED)
	@$(UV) pip install --python $(BIN)/python -c constraints/main.txt --group mutation
	@touch $@

constraints: $(INSTALLED)
	$(UV) pip compile --upgrade --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
		--extra local --group test --group lint --group demo --group mutation pyproject.toml -o constraints/main.txt
	echo awscli | $(UV) pip compile --upgrade --universal --python-version 3.11 --no-header --no-annotate \
		--no-emit-index-url - -o constraints/awscli.txt
	$(UV) pip compile --upgrade --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
		--extra local --group benchmark pyproject.toml -o constraints/benchmark.txt
	echo uv | $(UV) pip compile --upgrade --no-header --no-annotate --no-emit-index-url - -o constraints/uv.txt
	printf 'hatchling\neditables' | $(UV) pip compile --upgrade --universal --python-version 3.11 --no-header \
		--no-annotate --no-emit-index-url - -o constraints/build.txt
	$(BIN)/python scripts/matrix.py --pin

clean:
	rm -rf .venv .venv-awscli .venv-benchmark .matrix .mutation .demo dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
