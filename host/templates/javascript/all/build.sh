#!/bin/sh
# Builds __NAME__.wasm. The tools and their versions are those of package.json.
set -eu
cd "$(dirname "$0")"

command -v node >/dev/null || {
  echo "build.sh: there is no node; install Node.js 20 or later from https://nodejs.org/ or with your system's packages" >&2
  exit 1
}
node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' || {
  echo "build.sh: node is $(node --version), and 20 or later is needed" >&2
  exit 1
}
for tool in componentize-qjs; do
  wanted=$(node -p "require('./package.json').devDependencies['$tool']")
  found=$(node -p "require('./node_modules/$tool/package.json').version" 2>/dev/null || echo none)
  if [ "$found" != "$wanted" ]; then
    echo "build.sh: $tool $wanted is needed, and there is $found; install it: npm install" >&2
    exit 1
  fi
done

# Not asynchronous, because no export is; and with the host's clocks and random numbers, not with stubs that trap.
node_modules/.bin/componentize-qjs --sync --wit wit --world plugin --js plugin.js --output __NAME__.wasm
