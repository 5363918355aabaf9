# make book      build the site into _build/html (warnings are errors, a failing cell fails)
# make test      ruff, import floors, unit tests, every chapter against its reference outputs, the built site
# make test-all  the same with the tests that take long
# make serve     show the site on http://127.0.0.1:$(PORT)
# make pdf       the whole book as one PDF, _build/html/latentbook.pdf (needs chromium and chromedriver)
# make linkcheck ask every other host that the book links to whether the page is still there
# make chapter NAME=question/what-a-vae-maximises    run one chapter, renew its references, rebuild
# make notebooks renew all reference outputs and measurements
# make assignments VARIANT=2027    students' and instructors' versions and zips, in dist/assignments/2027
# JOBS=4 runs the tests in four processes instead of two
# make clean     remove what was built; the virtual environment stays
PYTHON ?= python3
VENV   ?= .venv
PORT   ?= 8000
JOBS   ?= 2
VARIANT ?= base
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.latentbook
CACHE  := _build/.jupyter_cache
SPREAD := -n $(JOBS) --dist loadfile
PIP    := $(BIN)/python -m pip install --quiet --constraint constraints.txt
export OMP_NUM_THREADS ?= 1
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: book test test-all lint unit chapters-compared site serve chapter notebooks assignments clean
.NOTPARALLEL:

# torch first and by its exact version: pip then never looks for another one
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) --editable ".[book,classroom,test,dev]"
	@touch $@

book: $(STAMP)
	$(BIN)/python tools/cache.py
	$(BIN)/jupyter-book build . -W -n --keep-going

test: lint unit chapters-compared site

test-all: export LATENTBOOK_SLOW := 1
test-all: test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache

unit: $(STAMP)
	$(BIN)/python -m pytest $(SPREAD) --ignore=tests/site tests

# nbval hands what it computed to the book's cache, so a chapter runs once for the comparison and the site together
chapters-compared: $(STAMP)
	$(BIN)/python tools/notebooks.py --check
	$(BIN)/python tools/cache.py
	$(BIN)/python -m pytest $(SPREAD) -p tools.feed_cache --feed-cache=$(CACHE) --nbval-lax --nbval-current-env \
	  --nbval-cell-timeout=300 book

site: book
	$(BIN)/python -m pytest tests/site

serve: book
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

pdf: book
	$(BIN)/python tools/pdf.py

linkcheck: $(STAMP)
	$(BIN)/python tools/cache.py
	$(BIN)/jupyter-book build . --builder linkcheck --path-output .

chapter: $(STAMP)
	@test -f "book/$(NAME).md" || { echo "NAME=$(NAME): there is no book/$(NAME).md" >&2; exit 1; }
	$(BIN)/python tools/notebooks.py --update "book/$(NAME).md"
	$(MAKE) book

notebooks: $(STAMP)
	$(BIN)/python tools/notebooks.py --update

assignments: $(STAMP)
	$(BIN)/python -m latentbook.classroom release --variant $(VARIANT)

clean:
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
