# Needs Python 3.11 or later, make, and a package registry. Everything lands in .venv.

PYTHON ?= python3
PORT   ?= 8000
NODES  ?= 2
ROUNDS ?= 5
BENCH  ?=
VERSIONS ?= 3.11 3.12 3.13 3.14 3.15
TESTS  ?=
MUTANTS ?=
MINUTES ?= 60
# The tests of what is compiled.
SANITIZED ?= tests/machines/test_lease_timer.py tests/transport/test_twins.py tests/actor/test_message_twins.py tests/actor/test_first_step.py tests/messaging/test_mailbox.py tests/messaging/test_sender_turns.py tests/transport/test_ring_memory.py tests/transport/test_hostile_rings.py tests/transport/test_extensions_in_interpreters.py tests/programs/test_spawn.py tests/transport/test_thread_channel.py tests/transport/test_bell_watch.py
# Test files run beside each other: most of a test's time is waiting.
JOBS   ?= 4

# Programs and nodes that tests start come up from bytecode, wherever the environment forbids to keep it:
# compiling everything anew took each of them twice as long.
export PYTHONDONTWRITEBYTECODE :=

BIN  := .venv/bin
PIP  := $(BIN)/python -m pip --disable-pip-version-check --quiet
USER_STAMP := .venv/installed-examples
DEV_STAMP  := .venv/installed-dev
DOCS_STAMP := .venv/installed-docs
BUILT_FROM := pyproject.toml hatch_build.py $(wildcard transport/*.c transport/*.h actors/*/*.c actors/*/*.h)

.PHONY: help chat test check format docs changelog coverage bench soak sanitize fuzz mutants repeat versions clean
.DELETE_ON_ERROR:

help:
	@echo 'make chat      run the chat example           PORT=$(PORT) NODES=$(NODES)'
	@echo 'make test      run the suite                  TESTS=path::or::-k'
	@echo 'make check     ruff, mypy, pyright, import floors, wheel and sdist'
	@echo 'make sanitize  run the C extensions under the sanitizers of the compiler'
	@echo 'make fuzz      guided fuzzing of the decoder in C, with clang    MINUTES=$(MINUTES)'
	@echo 'make format    let ruff rewrite what it can'
	@echo 'make docs      build the documentation into build/site'
	@echo 'make changelog make an entry of CHANGELOG.md from the files of changes/'
	@echo 'make coverage  run the suite, show the branches nothing ran'
	@echo 'make bench     compare with the peers         BENCH="local process" ROUNDS=$(ROUNDS)'
	@echo 'make soak      the tests that take an hour or two    CHAOS_SECONDS=120 FUZZ_MINUTES=60'
	@echo 'make mutants   break the code on purpose, see tests fail    MINUTES=$(MINUTES) MUTANTS="--named word"'
	@echo 'make repeat    run the suite over and over    ROUNDS=$(ROUNDS) TESTS=path::or::-k'
	@echo 'make versions  run the suite on one Python after another    VERSIONS="$(VERSIONS)"'
	@echo 'make clean     remove everything made here'

# `exec`: no shell in between, so that Ctrl-C reaches the program and make waits for its clean end.
chat: export CHAT_PORT := $(PORT)
chat: $(USER_STAMP)
	@exec $(BIN)/actors run examples.chat:topology --nodes web=$(NODES)

test: $(DEV_STAMP)
	@exec $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

check: $(DEV_STAMP)
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo
	@rm -rf build/dist && mkdir -p build
	$(BIN)/python -m build --no-isolation --outdir build/dist . >build/build.log 2>&1 || { cat build/build.log; exit 1; }
	$(BIN)/twine --no-color check --strict build/dist/*
	@rm -rf build/typed && $(BIN)/python -m zipfile -e build/dist/*.whl build/typed
	@cd build && PYTHONPATH=$(CURDIR)/build/typed ../$(BIN)/pyright --pythonpath ../$(BIN)/python \
		--verifytypes actors --ignoreexternal >typed.log || true
	@awk '/^Type completeness score/ { score = $$4 + 0 } END { print "typed:", score "%"; exit score < 99 }' build/typed.log \
		|| { grep 'error:' build/typed.log; exit 1; }

# A copy of the package has extensions that end the process at the first error that they make with memory, or by
# what C leaves undefined; warnings are errors. CPython keeps much of its memory to the end, so leaks are not counted.
sanitize: export ASAN_OPTIONS := detect_leaks=0:allocator_may_return_null=1
sanitize: export UBSAN_OPTIONS := print_stacktrace=1:halt_on_error=1
sanitize: $(DEV_STAMP)
	@rm -rf build/sanitize && mkdir -p build/sanitize && cp -RL actors build/sanitize/actors
	CFLAGS='-Werror -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all' \
		$(BIN)/python hatch_build.py build/sanitize
	LD_PRELOAD=$$($${CC:-cc} -print-file-name=libasan.so) PYTHONMALLOC=malloc ACTORS_SPEEDUPS=1 PYTHONPATH=build/sanitize \
		$(BIN)/python -m pytest -q -p no:cacheprovider -o pythonpath=build/sanitize -o faulthandler_timeout=0 $(SANITIZED)

# Inputs that lead to more code are kept in build/fuzz/corpus for the next time, what goes wrong in build/fuzz/found.
fuzz: $(DEV_STAMP)
	@exec .ci/fuzz $(MINUTES)

format: $(DEV_STAMP)
	$(BIN)/ruff check --quiet --fix
	$(BIN)/ruff format --quiet

# A link, an anchor or a reference that leads nowhere ends it.
docs: export NO_MKDOCS_2_WARNING := 1
docs: $(DOCS_STAMP)
	$(BIN)/mkdocs build --strict --quiet
	@echo 'built; to read and search it: python3 -m http.server --directory build/site'

# The fragments of `changes/` become the entry of this version.
changelog: $(DEV_STAMP)
	$(BIN)/towncrier build --yes

coverage: $(DEV_STAMP)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(DEV_STAMP)
	@benchmarks/peers/setup.sh
	@exec $(BIN)/python -m benchmarks --rounds $(ROUNDS) $(BENCH)

# `-s`: what a soak has counted is printed. Each of them ends by a timeout of its own. Atheris lets coverage
# guide the fuzzing, and Ray is a quarter of a gigabyte; where there is none for this Python, their tests are skipped.
soak: $(DEV_STAMP)
	@$(PIP) install --only-binary :all: 'atheris>=3' || echo 'no atheris for this Python'
	@$(PIP) install --only-binary :all: --editable '.[ray]' || echo 'no Ray for this Python'
	@exec $(BIN)/python -m pytest -m soak -s -o faulthandler_timeout=0 tests/soak tests/engines

# Does some test notice when the code is wrong? The named mutants, then as many of the generated ones as
# there is time for, in random order.
mutants: $(DEV_STAMP)
	@exec $(BIN)/python -m tests.mutants --minutes $(MINUTES) --jobs $(JOBS) $(MUTANTS)

# The first failure ends it: a suite that passes most of the time does not pass.
repeat: $(DEV_STAMP)
	@for round in $$(seq $(ROUNDS)); do \
		echo "round $$round of $(ROUNDS)"; \
		$(BIN)/python -m pytest -q -x $(TESTS) || exit 1; \
	done

# The whole suite on each; an interpreter that is not installed comes from Debian where that can be done.
versions:
	@JOBS=$(JOBS) PYTEST='$(TESTS)' .ci/versions $(VERSIONS)

clean:
	rm -rf .venv .versions .peers .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find actors benchmarks examples supervisors tests transport \( -name __pycache__ -o -name '*.so' \) -prune -exec rm -rf {} +

# An editable install follows the Python sources by itself; what is compiled, or in pyproject.toml, needs a new one.
$(USER_STAMP): $(BUILT_FROM) | $(BIN)/python
	@echo 'installing into .venv'
	@$(PIP) install --editable '.[examples]'
	@touch $@

$(DEV_STAMP): $(BUILT_FROM) | $(BIN)/python
	@echo 'installing into .venv, with what tests and checks need'
	@$(PIP) install --editable '.[dev]'
	@touch $@ $(USER_STAMP)

$(DOCS_STAMP): pyproject.toml | $(BIN)/python
	@echo 'installing into .venv, with what the documentation needs'
	@$(PIP) install --editable '.[channels,docs,examples,joblib,socketio]'
	@touch $@ $(USER_STAMP)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"{sys.executable} is Python {sys.version.split()[0]}, and 3.11 or later is needed: make PYTHON=python3.x ...")'
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
