# Every target sets up what it needs: `make leaderboard` and `make test` work on a fresh
# machine with Python 3.11 or newer and nothing else.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SEEDS ?= 3

.PHONY: leaderboard test test-slow check results clean

leaderboard: $(VENV)/.installed
	$(BIN)/metabench run

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow -n 2 --dist loadscope --durations 15

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell README.md CONTRIBUTING.md CHANGELOG.md results/README.md docs metabench plugins tools benchmarks
	$(BIN)/python -m tools.doc_tables --check

# The committed results and the leaderboard made from them; resumes where it stopped. Omniglot is
# looked for in the data root (METABENCH_DATA), else downloaded.
define RUNS
-s digits-5w1s -s digits-chunks -s sinusoid-5s -s "glyphs-5w*" --budget standard
-s digits-5w5s -a chance -a pixel-1nn -a cnn-adam -a untrained -a "m*[inner_lr=0.2,inner_steps=3,adapt_steps=10]" --budget standard
-s "omniglot-[52]*" -a chance -a pixel-1nn -a untrained -a pca-lr -a "protonet[train_way=30,train_shot=1]" --budget standard
-s "omniglot-5w*" -a sgd -a cnn-adam -a pretrained -a "m*" -a "m*[backbone=conv4[bn=episode]]" --budget standard
-s "omniglot-[52]*" -a "protonet[train_way=60]" --budget paper --seeds 1 -j 2
-s omniglot-5w1s -a "maml[backbone=conv4[bn=episode],inner_lr=0.4,tasks_per_step=8]" --budget seconds=3600 --seeds 1
-s sinusoid-5s -s sinusoid-10s -a chance -a pretrained -a "m*" --budget paper --seeds 1 --threads 1
-s "sinusoid-freq-*" -a chance -a pretrained -a "m*[train_shot=5]" --budget paper --seeds 1 --threads 1
endef
export RUNS
RUN := $(BIN)/metabench run --seeds $(SEEDS) --results results

results: $(VENV)/.installed
	@printf '%s\n' "$$RUNS" | while read -r run; do \
	    plan=$$(eval "$(RUN) $$run --dry-run") || exit; \
	    printf '%s\n' "$$plan" | head -n 1; echo "    $$run"; done
	@printf '%s\n' "$$RUNS" | while read -r run; do \
	    echo "$(RUN) $$run"; eval "$(RUN) $$run" </dev/null || exit; done
	$(BIN)/metabench leaderboard --results results -o leaderboard.md

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info results-smoke
