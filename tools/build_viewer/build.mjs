// Bundles src/main.js and three.js into one script for the offline page. three.js' licence goes into the script itself,
// because every page carries the script, and beside it.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = "../../gen3dface/viewer/static/";
const licence = await readFile(at("node_modules/three/LICENSE"), "utf8");

await build({
  entryPoints: [at("src/main.js")],
  outfile: at(target + "viewer.js"),
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2020",
  banner: { js: `/*! This script contains three.js.\n\n${licence}*/` },
  charset: "ascii",
});
await writeFile(at(target + "three.LICENSE.txt"), licence);
