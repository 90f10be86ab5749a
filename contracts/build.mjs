// Compiles src/*.sol to artifacts/*.json: abi, bytecode, deployedBytecode. The output is the same everywhere; with
// --check nothing is written, and a difference is an error.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const solc = require("solc");

const folders = ["src", "test"];
const sources = {};
for (const folder of folders) {
  for (const name of readdirSync(join(here, folder)).filter((name) => name.endsWith(".sol"))) {
    sources[`${folder}/${name}`] = { content: readFileSync(join(here, folder, name), "utf8") };
  }
}
const input = {
  language: "Solidity",
  sources,
  settings: {
    optimizer: { enabled: true, runs: 200 },
    evmVersion: "cancun",
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences"] } },
  },
};
const read = (path) => {
  try {
    const file = path.startsWith("@") ? require.resolve(path) : join(here, path);
    return { contents: readFileSync(file, "utf8") };
  } catch (error) {
    return { error: String(error) };
  }
};
const output = JSON.parse(solc.compile(JSON.stringify(input), { import: read }));
// Warnings of a library that is pinned are its own business.
const found = (output.errors ?? []).filter((error) => !error.sourceLocation?.file.startsWith("@"));
found.forEach((error) => console.error(error.formattedMessage));
if (found.length > 0) process.exit(1);

let differ = false;
const keep = (name, text) => {
  const file = join(here, "artifacts", name);
  if (!process.argv.includes("--check")) return writeFileSync(file, text);
  let kept = "";
  try {
    kept = readFileSync(file, "utf8");
  } catch {
    // There is none.
  }
  if (kept === text) return;
  console.error(`artifacts/${name} is not what its source compiles to: run npm run build`);
  differ = true;
};
mkdirSync(join(here, "artifacts"), { recursive: true });
for (const [path, contracts] of Object.entries(output.contracts)) {
  // What contracts only import is a part of them.
  if (!(path in sources)) continue;
  for (const [name, { abi, evm }] of Object.entries(contracts)) {
    const bytecode = `0x${evm.bytecode.object}`;
    if (bytecode === "0x") continue;
    const deployedBytecode = `0x${evm.deployedBytecode.object}`;
    keep(`${name}.json`, `${JSON.stringify({ abi, bytecode, deployedBytecode }, null, 1)}\n`);
    // Where the constructor puts its values: whoever compares deployed code leaves these out.
    const places = Object.values(evm.deployedBytecode.immutableReferences ?? {}).flat();
    places.sort((one, other) => one.start - other.start);
    if (places.length > 0) {
      const pairs = places.map(({ start, length }) => `(${start}, ${length})`).join(", ");
      keep(`${name}.immutables.in`, `const IMMUTABLES: Immutables = Immutables(&[${pairs}]);\n`);
    }
    console.log(`${name}: ${(bytecode.length - 2) / 2} bytes`);
  }
}
process.exit(differ ? 1 : 0);
