# Every target is one line that calls course-flows or a standard tool. README.md says how to do the same without make.
PYTHON ?= python3
BIN := .venv/bin
CHAPTERS := $(sort $(wildcard book/*.ipynb))
SOLUTIONS := $(sort $(wildcard solutions/*.ipynb))
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout 120 --nbval-sanitize-with tests/book/sanitize.cfg
JOBS ?= 2
PARALLEL := -n $(JOBS) --dist loadfile --no-loadscope-reorder
QUICK := -m "not slow and not hostile and not elsewhere"
# what `make test` runs beside the notebooks
SUITES ?= tests/package tests/grading tests/book tests/elsewhere
PORT ?= 8000
SHELL := /bin/bash
# Small networks gain nothing from threads, two kernels at once lose by them, and sums come out the same everywhere.
export OMP_NUM_THREADS ?= 1
.DEFAULT_GOAL := help
.PHONY: help env lock system book test test-elsewhere test-slow test-hostile check bench lab serve exercises notebooks \
	release grade clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

env: .venv/.ready ## create .venv and install everything into it (TORCH=cpu or TORCH=cuda chooses the build of torch)

.venv/.ready: requirements.txt requirements.lock requirements-cpu.lock requirements-cuda.lock pyproject.toml .ci/env
	@PYTHON="$(PYTHON)" bash .ci/env

lock: ## write the locks anew out of requirements.txt (UPGRADE="NAME …" or UPGRADE=all takes newer versions)
	@PYTHON="$(PYTHON)" bash .ci/lock

system: ## install the Debian packages that tests need, or say what to run
	@bash .ci/install-debian

book: env ## execute every chapter, build the HTML, say where to open it
	$(BIN)/jupyter-book build . -W -n --keep-going

test: env system book ## run everything: unit tests, the pages as they were built, grader, solutions under nbval
	$(BIN)/python -m pytest --progress $(PARALLEL) $(NBVAL) $(QUICK) $(SUITES) $(SOLUTIONS)

test-elsewhere: env system ## run pages, solutions, banks and tests as on other machines (MACHINE=name, or in-turn for one of them)
	$(BIN)/python tests/elsewhere/run.py --jobs $(JOBS) $(if $(MACHINE),$(if $(filter in-turn,$(MACHINE)),--in-turn,--machine $(MACHINE)))

test-slow: env system book ## run the long checks that `make test` leaves out
	$(BIN)/python -m pytest $(PARALLEL) -m slow $(SUITES)

test-hostile: env system ## grade the whole bank of hostile submissions in each tier of isolation
	$(BIN)/python -m pytest -m hostile tests/grading

check: env ## the quick round: lint, types, notebooks, unit tests
	$(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/python book/_ext/notebooks.py --check $(CHAPTERS) && $(BIN)/course-flows exercises --check && $(BIN)/python -m pytest -q $(PARALLEL) -m "not slow" tests/package

bench: env ## measure speed and memory against other libraries: wants an idle machine
	$(BIN)/pip install -q --no-deps --upgrade --target _build/peers -r tests/benchmarks/requirements.txt && PYTHONPATH=_build/peers $(BIN)/python tests/benchmarks/run.py

lab: env ## open the exercises in JupyterLab
	$(BIN)/jupyter lab exercises

serve: book ## show the built book at http://127.0.0.1:8000 (PORT=… for another port)
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

exercises: env ## generate exercises/ from solutions/
	$(BIN)/course-flows exercises

notebooks: env ## execute the chapters and store them clean
	$(BIN)/python book/_ext/notebooks.py --execute $(CHAPTERS)

release: env ## write the students' bundle to dist/students
	$(BIN)/course-flows release dist/students

grade: env ## grade one submission: make grade NOTEBOOK=path/to/submission.ipynb
	@test -n "$(NOTEBOOK)" || { echo "Name the submission: make grade NOTEBOOK=path/to/submission.ipynb"; exit 2; }
	$(BIN)/course-flows grade "$(NOTEBOOK)" --report reports

clean: ## remove everything that is built; the environment stays
	rm -rf _build build dist reports .pytest_cache .ruff_cache .mypy_cache .hypothesis
