#!/bin/sh
# Builds __NAME__.wasm.
set -eu
cd "$(dirname "$0")"
WANTED=0.25.1
[ -d .venv/bin ] && PATH="$PWD/.venv/bin:$PATH"

install="python3 -m venv .venv && .venv/bin/pip install componentize-py==$WANTED"
command -v componentize-py >/dev/null || {
  echo "build.sh: there is no componentize-py; install it: $install" >&2
  exit 1
}
found=$(componentize-py --version)
[ "$found" = "componentize-py $WANTED" ] || {
  echo "build.sh: componentize-py $WANTED is needed, and there is \"$found\"; install it: $install" >&2
  exit 1
}

# Without --stub-wasi: with it the time traps and random numbers repeat.
componentize-py --wit-path wit --world plugin componentize --python-path . plugin --output __NAME__.wasm
