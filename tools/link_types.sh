#!/bin/sh
# Type checkers do not follow package_dir: lay the packages out by links as they are installed.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
rm -rf "$1" && mkdir -p "$1/gen3dface"
ln -s "$root"/gen3dface/* "$1/gen3dface/"
for part in pipelines data_synth recon configs weights; do ln -s "$root/$part" "$1/gen3dface/$part"; done
