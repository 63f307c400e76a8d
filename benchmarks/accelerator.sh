#!/usr/bin/env bash
# What an accelerator does, in six minutes and one file: see benchmarks/accelerator.py.
#
#   MBJAX_DATA=FOLDER benchmarks/accelerator.sh [FILE.json] [option of accelerator.py ...]
#
# FOLDER holds the data sets taobao and jd, or what of them there is; nothing is fetched. Each part has a process and a
# time limit of its own, and the file is written after each, so that what is stopped early leaves what it found.
# PYTHON=... names the interpreter (default: .venv/bin/python, else python3).
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || python=python3
out=accelerator.json
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
  out=$1
  shift
fi
# XLA keeps compiled programs in the folder that JAX_COMPILATION_CACHE_DIR names, where that is set.
exec env PYTHONPATH="$PWD" "$python" benchmarks/accelerator.py --out="$out" --deadline=340 --limit=90 --training=30 "$@"
