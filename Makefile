# Everything a newcomer needs, each from a fresh clone: `make demo`, then `make test`. No step asks a question.
# Another Python: `make PYTHON=python3.12 test`.

PYTHON = python3
BIN = .venv/bin
# Two processes share the test files, one file at a time each: `make test WORKERS=0` runs all in one.
WORKERS = 2
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
PIP = $(BIN)/python -m pip install -q -q --disable-pip-version-check --no-input -c constraints-test.txt

help:
	@echo "make demo     1,000 scenes into demo/, five of them to read, and an evaluation with its report"
	@echo "make test     every test"
	@echo "make check    what CI runs: style, format, types, layers, then every test"
	@echo "make bench    speed, scaling and memory: make bench BENCH='--help'"
	@echo "make golden   write the golden files anew; read the difference before you commit it"
	@echo "make docs     run every command that the README and docs/ show"
	@echo "make clean    remove what was made here"

# A stamp is written last, so that an install that was cut short starts again.
.venv/stamp-venv:
	rm -rf .venv
	@echo "Making .venv ..."
	$(PYTHON) -m venv .venv
	touch $@

.venv/stamp-runtime: .venv/stamp-venv pyproject.toml constraints-test.txt
	@echo "Installing anyscene into .venv ..."
	$(PIP) -e .
	touch $@

.venv/stamp-dev: .venv/stamp-venv pyproject.toml constraints-test.txt
	@echo "Installing anyscene and what its tests need into .venv ..."
	$(PIP) -e '.[dev]'
	touch .venv/stamp-runtime
	touch $@

demo: .venv/stamp-runtime
	rm -rf demo
	$(BIN)/anyscene generate -n 1000 --complexity 3-8 --scene-attributes 0-2 --seed 0 --out demo
	@echo
	@echo "Five of the 1,000 scenes:"
	@$(BIN)/anyscene show demo --count 5
	@echo
	@echo "Where to look:"
	@echo "  demo/*.parquet   the records: id, caption, graph, questions with answers; any Parquet reader opens them"
	@echo "  demo/run.json    which scenes of which space these are"
	@echo "Another scene:     $(BIN)/anyscene show demo --index 500"
	@echo
	@echo "And an evaluation, in a small offline world: a painter that errs, a judge that looks at pixels."
	$(BIN)/anyscene generate -n 300 --taxonomy sandbox --complexity 1-6 --counts --scene-attributes 0-1 --out demo/sandbox
	$(BIN)/anyscene eval demo/sandbox --model sandbox:flawed --judge sandbox:pixels --out demo/run
	@echo
	@echo "Open demo/run/report.html in a browser."

test: .venv/stamp-dev
	$(PYTEST)

check: .venv/stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

bench: .venv/stamp-dev
	$(BIN)/python perf/bench.py $(BENCH)

golden: .venv/stamp-dev
	$(BIN)/python -m pytest --update-golden -m golden

docs: .venv/stamp-dev
	$(BIN)/python -m pytest tests/test_docs.py

clean:
	rm -rf .venv demo build dist .bench .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks src/anyscene.egg-info

.PHONY: help demo test check bench golden docs clean
