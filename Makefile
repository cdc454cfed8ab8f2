# What a person runs before a commit; continuous integration runs the same.
PYTHON ?= python

.PHONY: check format test thorough bench repeatability quick-timing step-parity experts schema faults exports docs notebooks

check:  ## format, lint, types, layers
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	lint-imports --no-cache

format:  ## rewrite files as `check` wants them
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

test:  ## the default test suite
	$(PYTHON) -m pytest

schema:  ## regenerate the JSON Schemas of documents
	$(PYTHON) -m search_spaces.json_schema

bench:  ## every benchmark: one file a comparison, both sides interleaved in one process
	@for file in benchmarks/*.py; do echo; echo "## $$file"; $(PYTHON) $$file || exit 1; done

repeatability:  ## step times measured twice beside a busy neighbour, then the control that must fail: 14 minutes
	$(PYTHON) benchmarks/repeatability.py
	! $(PYTHON) benchmarks/repeatability.py --control

quick-timing:  ## whether quick timings rank networks of equal multiply-adds as long ones do: nine minutes
	$(PYTHON) benchmarks/quick_timing.py

step-parity:  ## our networks beside the same ones written plainly; fused beside depthwise: two minutes
	$(PYTHON) benchmarks/step_parity.py

experts:  ## dynamic convolutions by multiply-adds and by step time, and by image size: four minutes
	$(PYTHON) benchmarks/experts.py

thorough:  ## the tests that a plain pytest leaves out, many minutes
	$(PYTHON) -m pytest -m thorough

faults:  ## the whole fault campaign, some ten minutes; prints its seed, then a line of figures for each part
	$(PYTHON) -m pytest -n 0 tests/faults
	$(PYTHON) tests/faults/campaign.py

exports:  ## 20 random networks of every space leave in every form and are compared: an hour; COUNT=2 is a taste
	$(PYTHON) tests/nas/export_campaign.py $(or $(COUNT),20)

docs:  ## the documentation as a site in site/, every warning an error
	$(PYTHON) -m mkdocs build --strict

notebooks:  ## execute the notebooks, each from a clean kernel, and keep what they print: about four minutes
	$(PYTHON) docs/notebooks/execute.py --write
