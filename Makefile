PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests run side by side, one worker a core; past four, memory is what is short. Each worker has one thread: the
# threads of several wait for each other at every step.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

.PHONY: help demo test quick check audit sbom dist lock docs smoke attack mutants bench-regression image cluster docs-site \
    notebooks verify-openai clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 22

demo: $(VENV)/installed  ## set up, then run the main job on real digits that ship with the package
	$(BIN)/python -m fused_clip.run

test: $(VENV)/installed  ## set up, then run every test
	$(PYTEST)

quick: $(VENV)/installed  ## set up, then run the tests without the slow ones
	$(PYTEST) -m "not slow"

attack: $(VENV)/installed  ## before a release: every attack at full length, with its counts for docs/reliability.md
	FUSED_CLIP_ATTACK=full $(PYTEST) tests/attack tests/browser tests/experiments/open_backbone \
	    tests/runner/test_interruptions.py

mutants: $(VENV)/installed  ## change the code in 600 places, and see that tests fail; a quarter of an hour of a core
	nice $(BIN)/python -m experiments.mutants

bench-regression: export BASE := $(BASE)
bench-regression: $(VENV)/installed  ## is this version slower than BASE=<commit> (default: the last tag)? a table, and 1 if so
	@OMP_NUM_THREADS=1 $(BIN)/python -m experiments.benchmarks.regression $(ARGS)

image: $(VENV)/installed  ## build the image of the Dockerfile and try it; without Docker as root, in a small Debian
	$(BIN)/python -m experiments.image $(ARGS)

cluster: $(VENV)/installed  ## a sweep and shards, with faults, on a real Slurm, Ray and PostgreSQL; ARGS=--full: 200 faults
	OMP_NUM_THREADS=1 $(BIN)/python -m experiments.cluster $(ARGS)

check: $(VENV)/installed  ## lint, types, tables and links of documents, plain words
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m experiments.docs --check
	$(BIN)/python -m experiments.words

audit: $(VENV)/installed  ## holes that are known: code (bandit), workflows (zizmor), packages (pip-audit)
	bash .ci/audit $(BIN)

sbom: $(VENV)/installed  ## list the packages of the environment as CycloneDX: build/sbom.json
	$(BIN)/python -m experiments.release.sbom build/sbom.json

dist: $(VENV)/installed  ## build wheel and sdist into dist/, check them, and try the wheel's commands
	$(BIN)/python -m experiments.release

lock: $(VENV)/installed  ## pin what pyproject.toml asks for, with hashes: requirements-dev.txt; ARGS=--upgrade: newest
	$(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --all-extras --generate-hashes \
	    --custom-compile-command "make lock" $(ARGS) \
	    --output-file requirements-dev.txt pyproject.toml

docs: $(VENV)/installed  ## write the generated tables of the documents, and llms.txt
	$(BIN)/python -m experiments.docs

docs-site: $(VENV)/installed  ## build the site in build/site: runs the gallery, warnings are errors, checks links
	rm -rf build/site docs/generated docs/gallery
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -c docs -W --keep-going -q . build/site
	$(BIN)/python -m experiments.site_links build/site

notebooks: docs/gallery/index.rst  ## run the gallery's notebooks in Jupyter
	rm -rf build/notebooks && mkdir -p build/notebooks && cp docs/gallery/*.ipynb build/notebooks
	$(BIN)/python -m nbconvert --to notebook --execute --inplace build/notebooks/*.ipynb

docs/gallery/index.rst:
	$(MAKE) docs-site

smoke: $(VENV)/installed  ## a sweep over every prompt strategy
	$(BIN)/python -m fused_clip.run experiment=smoke

verify-openai: $(VENV)/installed  ## OpenAI's weights, from the hub or its cache, give the published zero-shot figures
	$(BIN)/python -m experiments.verify_openai

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch torchvision
	$(BIN)/python -m pip install --quiet --editable '.[dev,docs,all]'
	touch $@

clean:  ## remove the environment and caches; outputs stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
