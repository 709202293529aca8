#!/bin/sh
# Builds __NAME__.wasm.
set -eu
cd "$(dirname "$0")"
ZIG=0.17.1
WASM_TOOLS=1.262.0
[ -d .venv/bin ] && PATH="$PWD/.venv/bin:$PATH"

install="__INSTALL__"
if command -v python-zig >/dev/null; then
  zig=python-zig
elif command -v zig >/dev/null; then
  zig=zig
else
  echo "build.sh: there is no zig; install it: $install" >&2
  exit 1
fi
found=$($zig version)
[ "$found" = "$ZIG" ] || {
  echo "build.sh: zig $ZIG is needed, and there is $found; install it: $install" >&2
  exit 1
}
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
# The first time takes a minute: zig compiles its own translator.
if [ ! -s build/bindings.zig ] || [ bindings/plugin.h -nt build/bindings.zig ]; then
  $zig translate-c -target wasm32-wasi -lc bindings/plugin.h > build/bindings.zig.new
  mv build/bindings.zig.new build/bindings.zig
fi
# The stack is part of every instance's memory; the default would be 16 MiB.
$zig build-exe -target wasm32-wasi -mexec-model=reactor -rdynamic -O ReleaseSmall -fstrip --stack 65536 -lc \
  -cflags -std=c17 -- bindings/plugin.c --dep bindings -Mroot=plugin.zig -Mbindings=build/bindings.zig \
  -femit-bin=build/core.wasm
wasm-tools component embed wit --world plugin build/core.wasm -o build/embedded.wasm
wasm-tools component new build/embedded.wasm \
  --adapt wasi_snapshot_preview1=wit/wasi_snapshot_preview1.reactor.wasm -o __NAME__.wasm
