import { parseArgs } from "node:util";
import { BlockProfiler } from "./coverage.ts";
import { fuzz } from "./fuzzer.ts";
import { keep } from "./kept.ts";

const USAGE = `npm run test:fuzz -- [options]

Coverage-guided fuzzing of everything that parses bytes from outside. What it finds is written to test/fuzz/kept.

  --seed N       default 1
  --runs N       inputs per target; default 3000
  --target NAME  this target only
  --json         the report as one JSON object on the last line
  --help         this text
`;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    runs: { type: "string", default: "3000" },
    target: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const seed = Number(values.seed);
const runs = Number(values.runs);
if (values.help || !Number.isInteger(seed) || !Number.isInteger(runs) || runs < 1) {
  process.stdout.write(USAGE);
  process.exit(values.help ? 0 : 2);
}

using profiler = new BlockProfiler();
// What is imported before the profiler starts is counted by the function, not by the block.
const { TARGETS } = await import("./targets.ts");
const chosen = TARGETS.filter(({ name }) => values.target === undefined || name === values.target);
if (chosen.length === 0) {
  process.stderr.write(`no target ${values.target}; there are ${TARGETS.map(({ name }) => name).join(", ")}\n`);
  process.exit(2);
}
const totals = { targets: chosen.length, seed, runs: 0, corpus: 0, covered: 0, findings: 0 };
for (const target of chosen) {
  const result = fuzz(target, profiler, { seed, runs });
  totals.runs += result.runs;
  totals.corpus += result.corpus.length;
  totals.covered += result.covered;
  totals.findings += result.findings.length;
  process.stdout.write(`${target.name}: ${result.runs} runs, corpus ${result.corpus.length}, ${result.covered} blocks covered\n`);
  for (const finding of result.findings) process.stdout.write(`  ${finding.kind}: ${finding.detail}; ${keep(finding)}\n`);
}
if (values.json) process.stdout.write(`${JSON.stringify(totals)}\n`);
process.exitCode = totals.findings === 0 ? 0 : 1;
