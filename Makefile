PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check docs smoke verify-openai clean

demo: $(VENV)/installed  ## set up, then run the main job on embedded real digits
	$(BIN)/python -m fused_clip.run

test: $(VENV)/installed  ## set up, then run every test
	$(BIN)/python -m pytest

check: $(VENV)/installed  ## lint, types, and tables and links in documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m experiments.docs --check

docs: $(VENV)/installed  ## write the tables in documents from the result files
	$(BIN)/python -m experiments.docs

smoke: $(VENV)/installed  ## a sweep over every prompt strategy
	$(BIN)/python -m fused_clip.run experiment=smoke

verify-openai: $(VENV)/installed  ## with a network: OpenAI's weights give the published zero-shot figures
	$(BIN)/python -m experiments.verify_openai

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch torchvision
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:  ## remove the environment and caches; outputs stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
