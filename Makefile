# The same targets serve people and CI. Everything happens in $(VENV); nothing is installed outside it.
PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
BUNDLE ?= $(firstword $(wildcard demo/bundle demo/*/bundle demo/*/*/bundle runs/*/bundle))
BIN    := $(VENV)/bin
# Processes of the tests: one for each core that may be used, two at least, for some tests wait more than they compute.
CORES  := $(shell nproc 2>/dev/null || echo 1)
JOBS   ?= $(if $(filter 1,$(CORES)),2,$(CORES))
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALL = $(PIP) -c constraints.txt
# torchvision needs a build of torch of its own, and so an environment of its own.
TORCHVISION := $(VENV)-torchvision
# So does anomalib, which make peers measures beside us. ANOMALIB= leaves it out.
ANOMALIB ?= $(VENV)-anomalib
# And pip-audit, which looks at what is pinned, not at what is installed beside it.
AUDIT := $(VENV)-audit
# What the tests hold edge-ad's use of TensorRT and CUDA to: version=package of Python bindings, without the libraries.
BINDINGS := 8.6.1=tensorrt-bindings 10.3.0=tensorrt-cu12-bindings 10.13.3.9=tensorrt-cu12-bindings \
	11.4.0.106=tensorrt-cu13-bindings 12.9.10=cuda-bindings 13.5.0=cuda-bindings 1.9.0=cuda-pathfinder

.PHONY: help gpu-check demo test test-fast test-torchvision test-pythons check docs release audit fuzz bench peers accuracy has-bundle clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    train, export, calibrate, build, verify and stream a rendered product"
	@echo "make test    run the tests (ARGS='-k name' picks some)"
	@echo "make test-fast    those that take less than ten seconds each"
	@echo "make test-torchvision    the ResNets against torchvision's, in an environment of their own (5.6 GB)"
	@echo "make test-pythons    what runs on a device, with the Python versions PYTHONS='3.10 3.13' that are here (1 GB each)"
	@echo "make check   formatting, lint, types and import rules"
	@echo "make docs    build the documentation in site/; fails on a broken link, or a page that is hard to read"
	@echo "make release    build wheel, source distribution, sums and notes in dist/ and check them (ARGS=--rehearse before the tag)"
	@echo "make gpu-check    check all that needs an NVIDIA GPU in at most 10 minutes; the report is gpu-check.md (ARGS='--bundle DIR')"
	@echo "make audit   hold the pinned versions against known vulnerabilities; needs a way to an advisory database"
	@echo "make fuzz    damage bundles, images, runs, records and requests for four minutes; fails when something is found (ARGS='--seed 1')"
	@echo "make bench   measure bundles, rivals, scaling and the comparison itself, make the report (BUNDLE='path...', DATA='folder...')"
	@echo "make peers   measure a bundle beside eager torch, plain OpenVINO and ONNX Runtime, benchmark_app, anomalib (7 GB of its own);"
	@echo "             with DATA='folder...' also the accuracy of anomalib's PaDiM and PatchCore on our backbone beside ours"
	@echo "make accuracy    train and evaluate METHODS on each product of DATA with SEEDS; goes on where it was stopped (ARGS='--workers 4 --cores 2')"
	@echo "make clean   remove the environment, caches and build products"
	@echo "PYTHON=python3.12 picks the interpreter of a new environment; it must be 3.10 or newer."

demo: $(VENV)/.installed-train
	rm -rf demo
	$(BIN)/edge-ad demo --out demo $(ARGS)

test: $(VENV)/.installed-dev $(VENV)/tensorrt-bindings/.installed
	$(BIN)/python -m pytest $(if $(filter 1,$(JOBS)),,-n $(JOBS) --dist loadfile) $(ARGS)

test-fast: $(VENV)/.installed-dev $(VENV)/tensorrt-bindings/.installed
	$(BIN)/python -m pytest $(if $(filter 1,$(JOBS)),,-n $(JOBS) --dist loadfile) -m 'not slow' $(ARGS)

test-torchvision: $(TORCHVISION)/.installed
	@$(TORCHVISION)/bin/python -c 'import torchvision' # where it does not load, the tests would only be skipped
	$(TORCHVISION)/bin/python -m pytest tests/torchvision $(ARGS)

# Other versions of Python that are on this machine, each in an environment of its own, without torch.
PYTHONS ?= 3.10 3.13
test-pythons: $(VENV)/.installed-dev
	$(BIN)/python -m tests.packaging.other_pythons $(PYTHONS)

# Types are held against the standard library of the oldest and of the newest Python too. NumPy types less for 3.10.
check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.10 --no-warn-return-any
	$(BIN)/mypy --python-version 3.13
	$(BIN)/lint-imports

# The links, the commands and the Python blocks of the pages are held by make test, which builds the site too.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

# On a machine without a GPU it says of each step why it cannot run, and ends with 3.
gpu-check: $(VENV)/.installed-train
	$(BIN)/edge-ad doctor --gpu $(ARGS)

# Nothing is uploaded.
release: $(VENV)/.installed-dev
	$(BIN)/python -m tests.packaging.release $(ARGS)

# Without --strict, pip-audit passes over what it cannot look up and finds nothing wrong.
audit: $(AUDIT)/.installed
	@$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt $(ARGS) || { \
	  echo "error: a pinned version is vulnerable, or the audit could not be done; the lines above say which." >&2; \
	  echo "hint: without a way to the database of PyPI, that of OSV may do: make audit ARGS='-s osv'" >&2; exit 1; }

# Inputs that find something are written to runs/fuzz; ARGS='--target images --seconds 60' picks one target.
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz --seconds 200 $(ARGS)

# BUNDLE and DATA may name several; rivals are measured on the first. Rows go to $(BENCH); RECORD=1 rewrites the documents.
DATA   ?=
ifndef BENCH
BENCH  := runs/bench-$(shell date +%Y%m%d-%H%M%S)
endif
FIRST  := $(firstword $(BUNDLE))
RUN    := $(patsubst %/,%,$(dir $(FIRST)))
ONDATA := $(if $(DATA),--data $(firstword $(DATA)))
# Models of anomalib that make peers fits on DATA; those of the first product are timed.
FITTED := runs/peers
WITH_ANOMALIB := --anomalib $(ANOMALIB)/models $(if $(DATA),$(FITTED)/$(notdir $(patsubst %/,%,$(firstword $(DATA))))) \
	--anomalib-python $(ANOMALIB)/bin/python
# Rivals are compared within one session: rows without anomalib do not replace rows with it.
RECORDED := engines scaling detection $(if $(wildcard $(ANOMALIB)/models/.exported),peers)
PEERS  := -m benchmarks.suites.peers $(FIRST) --rounds 8 $(if $(wildcard $(RUN)/run.json),--run $(RUN)) $(ONDATA)

bench: $(VENV)/.installed-dev has-bundle
	$(BIN)/python -m benchmarks.suites.latency $(BUNDLE) $(if $(DATA),--data $(DATA)) --out $(BENCH)/engines.jsonl $(ARGS)
	$(BIN)/python $(PEERS) --out $(BENCH)/peers.jsonl $(if $(wildcard $(ANOMALIB)/models/.exported),$(WITH_ANOMALIB))
	$(BIN)/python -m benchmarks.suites.scaling --rounds 4 --seconds 0.3 --out $(BENCH)/scaling.jsonl
	$(BIN)/python -m benchmarks.suites.detection $(FIRST) $(ONDATA) --out $(BENCH)/detection.jsonl
	$(BIN)/python -m benchmarks.stream_speed --bundle $(FIRST) > $(BENCH)/stream.json
	$(if $(RECORD),cp $(RECORDED:%=$(BENCH)/%.jsonl) benchmarks/results/)
	$(if $(RECORD),$(BIN)/python -m benchmarks.write_tables)
	$(if $(RECORD),$(BIN)/python -m benchmarks.fader_markdown)
	$(if $(RECORD),$(BIN)/python -m benchmarks.discriminator_markdown)
	$(if $(RECORD),$(BIN)/python -m benchmarks.simulated_defects_markdown)
	$(BIN)/python -m benchmarks.report $(if $(RECORD),benchmarks/results,$(BENCH)) --out $(BENCH)/report

peers: $(VENV)/.installed-dev has-bundle $(if $(ANOMALIB),$(ANOMALIB)/models/.exported)
	$(if $(and $(DATA),$(ANOMALIB)),$(BIN)/python -m benchmarks.suites.peer_accuracy --data $(DATA) --seeds $(SEEDS) \
	  --anomalib-python $(ANOMALIB)/bin/python --work $(FITTED) --out $(BENCH)/peer_accuracy.jsonl)
	$(if $(DATA),$(BIN)/python -m benchmarks.suites.accuracy_suite --data $(DATA) --seeds $(SEEDS) \
	  --methods patch-gaussian patch-gaussian:geometry=stretch --out $(BENCH)/peer_accuracy.jsonl)
	$(BIN)/python $(PEERS) $(if $(ANOMALIB),$(WITH_ANOMALIB)) --out $(BENCH)/peers.jsonl $(ARGS)
	$(BIN)/python -m benchmarks.report $(BENCH) --out $(BENCH)/report

# Hours for all methods, products and seeds; rows that are there are not measured again.
SEEDS    ?= 0
METHODS  ?= patch-gaussian patch-metric patch-nearest
ACCURACY ?= runs/accuracy.jsonl
accuracy: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.suites.accuracy_suite --data $(DATA) --methods $(METHODS) --seeds $(SEEDS) --out $(ACCURACY) $(ARGS)
	$(BIN)/python -m benchmarks.suites.accuracy_suite --show $(ACCURACY)

has-bundle:
	@test -n "$(BUNDLE)" || { echo "error: there is no bundle to measure." >&2; \
	  echo "hint: run make demo first, or name one: make bench BUNDLE=runs/<name>/bundle" >&2; exit 2; }

clean:
	rm -rf $(VENV) $(PYTHONS:%=.venv-%) $(TORCHVISION) $(ANOMALIB) $(AUDIT) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: an environment is made once and updated only when what it is made from has changed.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: edge-ad needs Python 3.10 or newer; $(PYTHON) is older or not there." >&2; \
	  echo "hint: name another one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-train: $(VENV)/.created pyproject.toml constraints.txt
	$(INSTALL) -e '.[train]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml constraints.txt
	$(INSTALL) -e '.[train,dev,docs]'
	@touch $@ $(VENV)/.installed-train

$(TORCHVISION)/.installed: pyproject.toml constraints.txt constraints-torchvision.txt
	$(PYTHON) -m venv $(TORCHVISION)
	grep -v '^torch==' constraints.txt | cat - constraints-torchvision.txt > $(TORCHVISION)/constraints.txt
	$(TORCHVISION)/bin/python -m pip install --quiet --disable-pip-version-check -c $(TORCHVISION)/constraints.txt \
	  -e '.[train]' torchvision pytest pytest-timeout hypothesis
	@touch $@

# Not pinned: an old auditor knows less.
$(AUDIT)/.installed:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	@touch $@

$(ANOMALIB)/.installed: constraints.txt constraints-torchvision.txt constraints-anomalib.txt
	$(PYTHON) -m venv $(ANOMALIB)
	grep -v '^torch==' constraints.txt | cat - constraints-torchvision.txt constraints-anomalib.txt > $(ANOMALIB)/constraints.txt
	$(ANOMALIB)/bin/python -m pip install --quiet --disable-pip-version-check -c $(ANOMALIB)/constraints.txt \
	  anomalib torch torchvision openvino onnx onnxscript
	@touch $@

$(ANOMALIB)/models/.exported: $(ANOMALIB)/.installed benchmarks/suites/anomalib_export.py
	$(ANOMALIB)/bin/python benchmarks/suites/anomalib_export.py $(ANOMALIB)/models
	@touch $@

# Not every version has a wheel for every Python and machine; the tests of one that is not there are skipped.
$(VENV)/tensorrt-bindings/.installed: $(VENV)/.created Makefile
	@for entry in $(BINDINGS); do \
	  version=$${entry%%=*}; \
	  $(PIP) --no-deps --only-binary :all: --upgrade --target $(VENV)/tensorrt-bindings/$$version \
	    $${entry#*=}==$$version || echo "note: no $${entry#*=} $$version for this Python." >&2; \
	done
	@mkdir -p $(@D) && touch $@
