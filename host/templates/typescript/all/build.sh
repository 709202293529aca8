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
for tool in componentize-qjs ts-blank-space typescript; do
  wanted=$(node -p "require('./package.json').devDependencies['$tool']")
  found=$(node -p "require('./node_modules/$tool/package.json').version" 2>/dev/null || echo none)
  if [ "$found" != "$wanted" ]; then
    echo "build.sh: $tool $wanted is needed, and there is $found; install it: npm install" >&2
    exit 1
  fi
done

node_modules/.bin/tsc

# Types become blanks, so that a line in a stack is the line in plugin.ts.
mkdir -p build
node --input-type=module -e '
  import { readFileSync, writeFileSync } from "node:fs";
  import blank from "ts-blank-space";
  const broken = (node) => { throw new Error(`not erasable: ${node.getText()}`); };
  writeFileSync("build/plugin.js", blank(readFileSync("plugin.ts", "utf8"), broken));
'
cp pulse.js build/pulse.js

# Not asynchronous, because no export is; and with the host's clocks and random numbers, not with stubs that trap.
node_modules/.bin/componentize-qjs --sync --wit wit --world plugin --js build/plugin.js --output __NAME__.wasm
