# Everything happens in .venv; Python 3.11 and make are all that has to be there.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

.PHONY: demo test test-fast check format bench fuzz faults soak fixtures wheel clean

demo: $(READY)  ## run the main job on the embedded world
	$(BIN)/tlaudit demo

test: $(READY)  ## all tests, on two cores
	$(PYTEST)

test-fast: $(READY)  ## all but the slow tests, on two cores
	$(PYTEST) -m "not slow and not browser and not realdata"

check: $(READY)  ## formatting, lint, types
	$(BIN)/ruff format --check src tests bench hardening
	$(BIN)/ruff check src tests bench hardening
	$(BIN)/mypy

format: $(READY)  ## put the code into shape
	$(BIN)/ruff format src tests bench hardening
	$(BIN)/ruff check --fix src tests bench hardening

bench: $(READY)  ## all measurements, beside peers and bounds, in one table
	$(BIN)/python -m bench

fuzz: $(READY)  ## coverage-guided fuzzing of what reads checkpoints, reports and policies, for two minutes each
	$(BIN)/python -m hardening.fuzz

faults: $(READY)  ## kill, interrupt, starve and lock out every command that writes, and count what is lost
	$(BIN)/python -m hardening.faults

soak: $(READY)  ## a hundred audits in one process: memory and file handles
	$(BIN)/python -m hardening.soak

fixtures: $(READY)  ## draw the embedded world again and train its three networks
	$(BIN)/python -m tlaudit.demo.training fixtures

wheel: $(READY)  ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

# uv installs in a third of the time, but knows nothing of pip's configuration (mirrors, proxies): where it fails, pip
# does it. torchvision is asked for, and brings the torch it was built with; a torch of another build is noticed at
# once instead of in the middle of a run.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]' \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m tlaudit.models.runtime
	touch $(READY)

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache
