#!/bin/sh
# Builds __NAME__.wasm.
set -eu
cd "$(dirname "$0")"
WASM_TOOLS=1.262.0
[ -d .venv/bin ] && PATH="$PWD/.venv/bin:$PATH"

install="__INSTALL__"
command -v go >/dev/null || {
  echo "build.sh: there is no go; install it from https://go.dev/dl/, or: $install" >&2
  exit 1
}
found=$(go env GOVERSION)
# As go.mod says; of another 1.x the bindings don't know the runtime.
case $found in
go1.27.[1-9]*) ;;
*)
  echo "build.sh: Go 1.27.1 or a later 1.27 is needed, and there is $found; install it from https://go.dev/dl/, or: $install" >&2
  exit 1
  ;;
esac
command -v wasm-tools >/dev/null || {
  echo "build.sh: there is no wasm-tools; install it: $install" >&2
  exit 1
}
found=$(wasm-tools --version | cut -d ' ' -f 2)
[ "$found" = "$WASM_TOOLS" ] || {
  echo "build.sh: wasm-tools $WASM_TOOLS is needed, and there is $found; install it: $install" >&2
  exit 1
}

mkdir -p build
# The bindings reach into Go's runtime by name, which the linker would forbid. Nothing is fetched: take GOPROXY=off away
# once go.mod requires a module of your choice.
GOTOOLCHAIN=local GOPROXY=off GOOS=wasip1 GOARCH=wasm \
  go build -buildmode=c-shared -trimpath "-ldflags=-s -w -checklinkname=0" -o build/core.wasm .
wasm-tools component embed wit --world plugin build/core.wasm -o build/embedded.wasm
wasm-tools component new build/embedded.wasm \
  --adapt wasi_snapshot_preview1=wit/wasi_snapshot_preview1.reactor.wasm -o __NAME__.wasm
