// Prints the Khronos validator's report on one .glb file as JSON.
import { readFile } from "node:fs/promises";
import { validateBytes } from "gltf-validator";

const bytes = await readFile(process.argv[2]);
const report = await validateBytes(new Uint8Array(bytes), { maxIssues: 100, ignoredIssues: [] });
process.stdout.write(JSON.stringify(report));
