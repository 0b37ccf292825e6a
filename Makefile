# Candlelake. `make` alone lists the targets. All that is installed goes into .venv in this folder.

BIN := .venv/bin
READY := .venv/.ready
AIRFLOW := .venv-airflow

# The first Python that is new enough and can make a virtual environment.
PYTHON = $(shell for python in $(BIN)/python python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
NO_PYTHON = Candlelake needs Python 3.11 or newer with its venv module, and python3 here is \
	$(or $(shell python3 --version 2>/dev/null),missing): \
	sudo apt-get install python3 python3-venv (macOS: brew install python@3.12)

# One line that says what is wrong with Java and how to get it; empty when Spark can start.
NO_JAVA = $(shell $(PYTHON) -B -m lakehouse.java 2>&1)

.DEFAULT_GOAL := help
.PHONY: help run test cluster-test test-connect airflow-test ui wheel lock clean machine

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

run: $(READY) ## set up, then make all tables and the report from the candles in samples/
	@$(BIN)/candlelake run medallion --conf conf/sample.yaml

test: $(READY) ## set up, then lint, check types and layers, and test with coverage
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --cov --numprocesses 2 --dist loadfile --no-loadscope-reorder

cluster-test: $(READY) ## all tasks by spark-submit on a cluster and by Spark Connect: the same rows?
	$(BIN)/pytest -m deployment tests/deployments

TESTS = tests
test-connect: $(READY) ## the tests on Spark Connect; TESTS=tests/ml runs some of them
	$(BIN)/pytest --connect --numprocesses 2 --dist loadfile --no-loadscope-reorder $(TESTS)

airflow-test: $(AIRFLOW)/.ready ## the jobs as DAGs of Airflow, in an environment of its own
	$(AIRFLOW)/bin/pytest --noconftest -m airflow tests/airflow

ui: $(READY) ## show the models and their runs at http://127.0.0.1:5000
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --workers 1 --port 5000 \
		--host 127.0.0.1 --backend-store-uri sqlite:///mlflow.db

wheel: $(READY) ## build the wheel into dist/
	@rm -rf build dist # what is removed from the sources would live on in build/
	@$(BIN)/uv build --wheel --no-build-isolation --python $(BIN)/python --quiet
	@rm -rf build && ls dist/*.whl

lock: $(READY) ## resolve both constraints.txt (pins stay; delete a line to renew it)
	@$(BIN)/uv pip compile setup.py --extra local --extra test --universal --python-version 3.11 \
		--quiet --custom-compile-command 'make lock' --output-file constraints.txt
	@$(BIN)/uv pip compile dags/requirements.txt --universal --python-version 3.11 \
		--quiet --custom-compile-command 'make lock' --output-file dags/constraints.txt

clean: ## remove .venv, caches and what `make run` made: lake/, report/ and the MLflow store
	@rm -rf .venv .venv-airflow lake report mlflow.db mlruns mlartifacts spark-warehouse build dist *.egg-info \
		.coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Asked each time and before anything is downloaded; $(error) makes it one line.
machine:
	@$(if $(PYTHON),,$(error $(NO_PYTHON)))
	@$(eval no_java := $$(NO_JAVA))$(if $(no_java),$(error $(no_java)))

$(BIN)/uv: | machine
	@echo "Setting up .venv; the first time on a machine downloads about 1 GB"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(READY): setup.py constraints.txt | machine $(BIN)/uv
	@$(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt --editable '.[local,test]'
	@touch $(READY)

# Airflow pins what Candlelake does not: of the wheel's requirements it gets only what it has itself.
$(AIRFLOW)/.ready: $(READY) dags/requirements.txt dags/constraints.txt
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(AIRFLOW)
	@$(BIN)/uv pip install --quiet --python $(AIRFLOW)/bin/python --constraint dags/constraints.txt \
		--requirement dags/requirements.txt
	@$(BIN)/uv pip install --quiet --python $(AIRFLOW)/bin/python --no-deps --editable .
	@touch $(AIRFLOW)/.ready
