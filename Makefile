# The daily verbs; `make` lists them. Only `system` needs root. Another Python: make PYTHON=python3.12 …

PYTHON ?= python3
# Python compiles what is imported; all of torch and the others would take a minute.
PIP_FLAGS := --quiet --disable-pip-version-check --no-compile
# A file's tests run one after another, in twice as many processes as there are cores, up to eight, since many wait for what
# happens in real time; the order is that of tests/conftest.py. ARGS="-n 0" runs all of them in one.
PARALLEL := -n $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); echo $$((n < 4 ? 2 * n : 8))) \
	--dist loadfile --no-loadscope-reorder
# What the shipped bundles learn from: a folder of corpora, pretrained encoders by hub name or folder, CAM++ as ONNX, and
# everyday speech, LibriSpeech. VERSION is that of the next bundle.
DATA ?= data
ENCODER ?= openai/whisper-base
START ?= openai/whisper-tiny.en
VOICES ?= campplus.onnx
SPEECH ?= $(DATA)/../more/librispeech
VERSION ?= 8
CALIBRATE := .venv-dev/bin/affectd-calibrate
EXPORT := .venv-dev/bin/affectd-export
SYSTEM_PACKAGES := gcc libasound2-plugins libc6-dev libportaudio2 mosquitto mosquitto-clients portaudio19-dev pulseaudio \
	pulseaudio-utils python3-dev python3-venv chromium

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help system run test quick check docs soak fuzz screenshots fleet arm64 bench default nano clean microphone

help: ## List these targets.
	@sed -n 's/^\([a-z0-9]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

system: ## Install the Debian packages that the microphone and the tests need (asks sudo for root).
	@if ! command -v apt-get >/dev/null; then \
		echo "This is not a Debian system. Please install with its own tools: Python 3.10 or newer with venv and C" \
			"headers, a C compiler, PortAudio with headers, and for the tests Chromium, mosquitto and PulseAudio (pulseaudio," \
			"pactl, paplay) with its ALSA plugin." >&2; exit 1; \
	elif [ "$$(dpkg-query -W -f '$${db:Status-Status}\n' $(SYSTEM_PACKAGES) 2>/dev/null | grep -cx installed)" \
			-eq $(words $(SYSTEM_PACKAGES)) ]; then \
		echo "All system packages are installed."; \
	else \
		root="env"; \
		if [ "$$(id -u)" -ne 0 ]; then \
			command -v sudo >/dev/null || { \
				echo "Installing packages needs root, and there is no sudo. As root:" \
					"apt-get install $(SYSTEM_PACKAGES)" >&2; exit 1; }; \
			echo "Installing packages needs root: sudo may ask for your password."; \
			root="sudo env"; \
		fi; \
		set -e; \
		$$root apt-get update -q; \
		$$root DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(SYSTEM_PACKAGES); \
	fi

run: .venv/installed ## Play the example conversation through the whole pipeline, in real time and without torch.
	@for clip in examples/*.flac; do .venv/bin/affectd run --source "$$clip" || exit; done

test: .venv-dev/installed microphone ## Run the tests; pytest's options in ARGS, such as ARGS="-k segmenter".
	@.venv-dev/bin/python -m pytest $(PARALLEL) $(ARGS)

quick: .venv-dev/installed microphone ## Run the tests that take no time; pytest's options in ARGS.
	@.venv-dev/bin/python -m pytest $(PARALLEL) -m "not slow" $(ARGS)

check: .venv-dev/installed ## Lint, check the format, the types and who imports whom.
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/mypy
	.venv-dev/bin/lint-imports --no-logo

docs: .venv-dev/installed ## Write docs/api.md, docs/recipe.md and docs/events.schema.json from the code.
	@.venv-dev/bin/python -m docs.generate

soak: .venv-dev/installed ## Run a daemon under faults on a fast clock for ten minutes; ARGS="--hours 12".
	@PYTHONPATH=tests .venv-dev/bin/python -m soak $(ARGS)

fuzz: .venv-dev/installed ## Feed 10,000 malformed inputs each to settings, bundles, sockets, topics, sources and servers; ARGS="--count 100".
	@PYTHONPATH=tests .venv-dev/bin/python -m fuzz $(ARGS)

screenshots: .venv-dev/installed ## Take the pictures of the dashboard in docs/dashboard; needs Chromium.
	@PYTHONPATH=tests .venv-dev/bin/python -m dashboard $(ARGS)

fleet: .venv-dev/installed ## Measure a hundred devices at one MQTT broker, which is restarted and killed; ARGS="--devices 20".
	@PYTHONPATH=tests .venv-dev/bin/python -m fleet $(ARGS)

arm64: .venv-dev/installed ## Compare the bundles on emulated arm64 with this processor; needs qemu-user-static. ARGS="--cpu max".
	@PYTHONPATH=tests .venv-dev/bin/python -m arm64 $(ARGS)

bench: .venv-dev/bench ## Measure everything into docs/benchmarks.md; corpora in ARGS="--data FOLDER".
	@.venv-dev/bin/python -m export.measure $(ARGS)

default: .venv-dev/installed ## Train, measure and export the default bundle; DATA=FOLDER ENCODER= VOICES= SPEECH=.
	$(EXPORT) thin configs/default-train.toml --data $(DATA) --encoder $(ENCODER) --stem 256 --hidden 1792 --force --out runs/thin
	$(CALIBRATE) generalise configs/default-train.toml --data $(DATA) --encoder runs/thin --seeds 1 --force --out docs/models/generalise
	$(CALIBRATE) train configs/default-train.toml --data $(DATA) --encoder runs/thin --force --out runs/default
	$(EXPORT) speaker $(VOICES) --force --out runs/speaker.onnx --licence Apache-2.0 --speech $(SPEECH)
	$(CALIBRATE) verification configs/default-train.toml --data $(DATA) --encoder runs/speaker.onnx --cohort $(SPEECH) \
		--without librispeech --without emovo --force --out runs/speakers
	$(EXPORT) bundle runs/default --data $(DATA) --encoder runs/thin --speakers runs/speakers \
		--left-out docs/models/generalise/generalisation.json --version $(VERSION) --max-mb 20 --force --out edge/bundles/default

nano: .venv-dev/installed ## Distil, measure and export the nano bundle, taught by the run of make default; START=.
	$(EXPORT) thin configs/nano-train.toml --data $(DATA) --encoder $(START) --stem 128 --hidden 256 --force --out runs/start
	$(EXPORT) distil runs/default configs/distil-nano.toml --data $(DATA) --encoder runs/thin --start runs/start --force --out runs/student
	$(CALIBRATE) train configs/nano-train.toml --data $(DATA) --encoder runs/student/encoder --force --out runs/nano
	$(EXPORT) bundle runs/nano --data $(DATA) --encoder runs/student/encoder --version $(VERSION) --max-mb 2 --force --out edge/bundles/nano

clean: ## Remove what make and the tools made: virtual environments, builds, caches. Training runs stay.
	rm -rf .venv .venv-dev build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find edge calibrate export tests -name __pycache__ -prune -exec rm -rf {} +

# Makes a virtual environment, or says why not.
define venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	echo "affectd needs Python 3.10 or newer, and $(PYTHON) is not: make PYTHON=python3.12 …" >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	echo "$(PYTHON) cannot make virtual environments; on Debian: make system (or apt install python3-venv)" >&2; exit 1; }
@test -x $(@D)/bin/pip || $(PYTHON) -m venv $(@D)
endef

.venv/installed: pyproject.toml
	$(venv)
	@echo "Installing the device side into .venv …"
	@.venv/bin/python -m pip install $(PIP_FLAGS) -e '.[cpu]'
	@touch $@

.venv-dev/installed: pyproject.toml
	$(venv)
	@echo "Installing the training side and the tools into .venv-dev: torch and more, which takes some minutes …"
	@.venv-dev/bin/python -m pip install $(PIP_FLAGS) -e '.[train,dev,cpu]'
	@touch $@

.venv-dev/bench: .venv-dev/installed
	@echo "Installing what affectd is measured against into .venv-dev …"
	@.venv-dev/bin/python -m pip install $(PIP_FLAGS) -e '.[bench]'
	@touch $@

# PyAudio is compiled against PortAudio, which may not be there.
microphone: .venv-dev/installed
	@if .venv-dev/bin/python -c 'import pyaudio' 2>/dev/null; then :; \
	elif printf '#include <Python.h>\n#include <portaudio.h>\n' | $(CC) -E -o /dev/null \
			-I"$$(.venv-dev/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')" - 2>/dev/null; then \
		echo "Installing PyAudio into .venv-dev …"; \
		.venv-dev/bin/python -m pip install $(PIP_FLAGS) -e '.[mic]'; \
	else \
		echo "The microphone tests will be skipped: no C compiler, or no headers of Python and PortAudio (make system)."; \
	fi
