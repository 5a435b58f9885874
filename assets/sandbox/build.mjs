// Compiles the sandbox's contracts into contracts.json: `npm ci && npm run build`.
//
// `node build.mjs --check` compiles and compares instead of writing; a difference is an error (tests/sandbox_build.rs).
// What comes out depends on the sources and the pinned compiler alone: no metadata hash, no paths, no dates.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const here = dirname(fileURLToPath(import.meta.url));
const output = join(here, "contracts.json");

// Where genesis puts each contract, and what is in its storage then, where a constructor would have written it.
// The first eight addresses are those of the live contracts (docs/kernel-v2.md#contracts). The demo's own are the low 20 bytes of
// keccak256("keyleash sandbox: " ‖ name), so that they are nobody's on any chain.
const FACTORY_OWNER = "0x0000000000000000000000009775137314fe595c943712b0b336327dfa80ae8a";
const ENTRY_POINT = "0x0000000000000000000000005ff137d4b0fdcd49dca30c7cf57e578a026d2789";
// The wallet slot of Kernel.sol: default validator = address(1), so that nobody can initialize the implementation itself.
const SEALED_WALLET = {
  "0x439ffe7df606b78489639bc0b827913bd09e1246fa6802968a5b3694c53e0dd9":
    "0x0000000000000000000000000000000000000000000100000000000000000000",
};
const placed = [
  ["EntryPoint", "0x5FF137D4b0FDCD49DcA30c7CF57E578a026d2789"],
  ["SenderCreator", "0x7fc98430eAEdbb6070B35B39D798725049088348"],
  ["KernelFactory", "0x5de4839a76cf55d0c90e2061ef4386d962E15ae3", { "0x00": ENTRY_POINT, "0x02": FACTORY_OWNER }],
  ["Kernel022", "0x0DA6a956B9488eD4dd761E59f52FDc6c8068E6B5", SEALED_WALLET],
  ["Kernel024", "0xd3082872F8B06073A021b4602e022d5A070d7cfC", SEALED_WALLET],
  ["ECDSAValidator", "0xd9AB5096a832b9ce79914329DAEE236f8Eea0390"],
  ["SessionKeyValidator", "0x5C06CE2b673fD5E6e56076e40DD46aB67f5a72A5"],
  ["Create2Deployer", "0x4e59b44847b379578588920cA78FbF26c0B4956C"],
  ["Sponsor", "0xFf233fe6F968de02FA548f571a91a92098690436"],
  ["DemoNft", "0x4379a78287415741517070c0Df99c92BeE095915"],
  ["DemoToken", "0x3481accE86Abc50d8358e3Ad38b9148B0c7Dd237"],
  ["DemoLending", "0xf6Ed63f9a98f2bD1052fF7Ba4F8521c46CaA359E"],
];

const sources = Object.fromEntries(
  readdirSync(here)
    .filter((file) => file.endsWith(".sol"))
    .sort()
    .map((file) => [file, { content: readFileSync(join(here, file), "utf8") }]),
);

// Of names and contents in order, each ended by a zero byte: what a test without a compiler can compare.
function fingerprint() {
  const hash = createHash("sha256");
  for (const [file, { content }] of Object.entries(sources)) hash.update(`${file}\0${content}\0`);
  return hash.digest("hex");
}

function compile() {
  const input = {
    language: "Solidity",
    sources,
    settings: {
      evmVersion: "shanghai",
      viaIR: true,
      optimizer: { enabled: true, runs: 200 },
      metadata: { bytecodeHash: "none", appendCBOR: false },
      outputSelection: { "*": { "*": ["abi", "evm.deployedBytecode.object"] } },
    },
  };
  const result = JSON.parse(solc.compile(JSON.stringify(input)));
  const problems = result.errors ?? [];
  for (const problem of problems) console.error(problem.formattedMessage);
  if (problems.length > 0) process.exit(1);
  return Object.assign({}, ...Object.values(result.contracts));
}

// `name(types)` of a function, event or error; tuples are written out.
function signature(item) {
  const type = (input) =>
    input.type.startsWith("tuple") ? `(${input.components.map(type).join(",")})${input.type.slice(5)}` : input.type;
  const answers = item.outputs?.length ? ` returns (${item.outputs.map(type).join(",")})` : "";
  return `${item.type} ${item.name}(${item.inputs.map(type).join(",")})${answers}`;
}

function build() {
  const compiled = compile();
  const contracts = placed.map(([name, address, storage]) => {
    const contract = compiled[name];
    const abi = contract.abi.filter((item) => item.name !== undefined).map(signature).sort();
    return { name, address, runtime: "0x" + contract.evm.deployedBytecode.object, storage: storage ?? {}, abi };
  });
  return JSON.stringify({ compiler: solc.version(), sources: fingerprint(), contracts }, null, 2) + "\n";
}

const built = build();
if (!process.argv.includes("--check")) {
  writeFileSync(output, built);
} else if (readFileSync(output, "utf8") !== built) {
  console.error("contracts.json is not what the sources compile to; run `npm run build` in assets/sandbox");
  process.exit(1);
}
