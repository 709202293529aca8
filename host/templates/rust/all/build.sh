#!/bin/sh
# Builds __NAME__.wasm.
set -eu
cd "$(dirname "$0")"

command -v cargo >/dev/null || {
  echo "build.sh: there is no cargo; install Rust 1.95 or later: https://rustup.rs/" >&2
  exit 1
}
minor=$(rustc --version | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p')
[ "${minor:-0}" -ge 95 ] || {
  echo "build.sh: $(rustc --version), and 1.95 or later is needed; install it: rustup update stable" >&2
  exit 1
}
[ -d "$(rustc --print target-libdir --target wasm32-wasip2)" ] || {
  echo "build.sh: Rust can't build for wasm32-wasip2; install it: rustup target add wasm32-wasip2" >&2
  exit 1
}

target=${CARGO_TARGET_DIR:-target}
cargo build --release --target wasm32-wasip2
cp "$target/wasm32-wasip2/release/plugin.wasm" __NAME__.wasm
