# make demo   hear real speech go through the codec (writes demo_out/)
# make test   lint, type check and all tests
# make test-numeric   the tests that rounding could sway, with an old processor's instructions
# make evaluate   measure this codec and those installed here (writes evaluate_out/report.html)
#                 CLIPS=folder of clips, LYRA_MODELS=folder; FULL=1 for every clip, peer and metric
# Each installs what it needs into .venv; it takes Python 3.11 or newer with pip, and the network.
#
# PYTHON=python3.12      another interpreter
# TORCH_INDEX=https://download.pytorch.org/whl/cpu   a smaller torch, without GPU support
# JOBS=4                 test processes

PYTHON ?= python3
TORCH_INDEX ?=
JOBS ?= 2
PYTEST_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install -c constraints.txt
# What was installed: the codec with what the demo needs; and all that developers need.
FOR_DEMO := .venv/for-demo
FOR_DEV := .venv/for-dev

# Two test processes with many threads each slow each other down.
export OMP_NUM_THREADS ?= 1
# Where a test takes two, those that wait must not keep a processor busy.
export OMP_WAIT_POLICY ?= PASSIVE

# A few clips in minutes; FULL=1 takes all, and writes the tables of docs/results.md as well.
CLIPS ?=
LYRA_MODELS ?=
FULL ?=
IN_DOMAIN ?= seen_speakers_unseen_sentences,librivox_unseen_readers
QUICK := $(if $(CLIPS),--limit-per-set 1)
PEERS := opus:6,opus:12,amrwb:6.6,amrwb:12.65,codec2:3.2,lyra:6,lyra:9.2
WHOLE := --jobs $(JOBS) --listen 9 --in-domain $(IN_DOMAIN) --markdown docs/results.md

# What torch and its libraries (oneDNN, MKL) and that of numpy may use at most: SSE.
OLD_PROCESSOR := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 \
  MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Nehalem

.PHONY: help venv demo evaluate test test-numeric lint format clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -10

venv: $(FOR_DEV)

$(FOR_DEMO): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(INSTALL) -e '.[demo]'
	@touch $@

$(FOR_DEV): $(FOR_DEMO)
	$(INSTALL) -e '.[demo,train,dev]'
	@touch $@

demo: $(FOR_DEMO)
	$(BIN)/eulerodec demo --out demo_out

evaluate: $(FOR_DEMO)
	-$(INSTALL) -q -e '.[eval]'  # what is missing, the report says
	-$(INSTALL) -q -e '.[lyra]'
	$(BIN)/eulerodec evaluate $(CLIPS) --out evaluate_out \
	  --systems reference,eulerodec:6,eulerodec:12,$(PEERS) --baseline eulerodec:12 \
	  $(if $(LYRA_MODELS),--lyra-models $(LYRA_MODELS)) $(if $(FULL),$(WHOLE),$(QUICK))

lint: $(FOR_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

test: lint
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

test-numeric: $(FOR_DEV)
	$(OLD_PROCESSOR) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m numeric $(PYTEST_ARGS)

format: $(FOR_DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist demo_out evaluate_out
