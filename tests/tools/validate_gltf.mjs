// Prints the Khronos validator's report on one .glb file as JSON: node validate_gltf.mjs VALIDATOR_INDEX_JS FILE.glb
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const [validator, file] = process.argv.slice(2);
const { validateBytes } = createRequire(import.meta.url)(validator);
const report = await validateBytes(new Uint8Array(await readFile(file)), { maxIssues: 100 });
process.stdout.write(JSON.stringify(report));
