import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { checkAgainst } from "./harness/check.ts";
import { type Change, type CompareOptions, compareResults, isWorse } from "./harness/compare.ts";
import { costs, PRICES } from "./harness/cost.ts";
import { changeTable, resultTable } from "./harness/print.ts";
import { type BenchResult, readResult } from "./harness/result.ts";
import { compareRevisions } from "./harness/revisions.ts";
import { runSuite } from "./harness/run-suite.ts";
import type { SamplingRule } from "./harness/sampling.ts";
import type { Suite } from "./harness/suite.ts";
import { CHECKED, SUITES } from "./suites.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const BASELINES = join(ROOT, "bench", "baselines");

const USAGE = `npm run bench -- NAME [options]

${[...SUITES.values()].map(({ name, title }) => `  ${name.padEnd(10)} ${title}`).join("\n")}
  ${"check".padEnd(10)} ${CHECKED.join(" and ")} against bench/baselines; exit 1 on a regression of 20 % or more
  ${"cost".padEnd(10)} what a million windows cost, by the stored results of end-to-end and bytes and by your prices

  --json                the result as one JSON object on the last line
  --out FILE            also write the result there, to compare with later
  --compare FILE|REV    compare with a stored result, or with another git revision, measured in turns with this checkout
  --rounds N            turns of each revision; default 3
  --html FILE           also write a page with plots there
  --samples N           samples of each figure; default 11
  --sample-ms N         least time of one sample; default 60
  --warm-up-ms N        default 200
  --venv DIR            where peers installs other libraries; default: smile-stream/bench-peers in the user's cache
  --planted-slowdown X  multiply what was measured before comparing: shows what is reported; default 1
  --cloud-core-hour X   price for cost; default ${PRICES.cloudCoreHour}
  --edge-core-hour X    price for cost; default ${PRICES.edgeCoreHour}
  --gigabyte X          price for cost, of a gigabyte over the network; default ${PRICES.gigabyte}
  --help                this text
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    out: { type: "string" },
    compare: { type: "string" },
    rounds: { type: "string", default: "3" },
    html: { type: "string" },
    samples: { type: "string", default: "11" },
    "sample-ms": { type: "string", default: "60" },
    "warm-up-ms": { type: "string", default: "200" },
    venv: { type: "string" },
    "planted-slowdown": { type: "string", default: "1" },
    "cloud-core-hour": { type: "string", default: String(PRICES.cloudCoreHour) },
    "edge-core-hour": { type: "string", default: String(PRICES.edgeCoreHour) },
    gigabyte: { type: "string", default: String(PRICES.gigabyte) },
    help: { type: "boolean", default: false },
  },
});
const [name, ...rest] = positionals;
const rounds = Number(values.rounds);
const rule: SamplingRule = {
  samples: Number(values.samples),
  sampleMs: Number(values["sample-ms"]),
  warmUpMs: Number(values["warm-up-ms"]),
};
const compareOptions: CompareOptions = { plantedSlowdown: Number(values["planted-slowdown"]) };
const suite = SUITES.get(name ?? "");
const isUsable =
  rest.length === 0 &&
  (suite !== undefined || name === "check" || name === "cost") &&
  [rounds, rule.samples].every((count) => Number.isInteger(count) && count >= 1) &&
  [rule.sampleMs, rule.warmUpMs, compareOptions.plantedSlowdown!].every((number) => number > 0) &&
  [values["cloud-core-hour"], values["edge-core-hour"], values.gigabyte].every((price) => Number(price) >= 0);

const say = (line: string) => process.stderr.write(`${line}\n`);
const tell = (text: string) => process.stdout.write(`${text}\n`);

if (values.help || !isUsable) {
  process.stdout.write(USAGE);
  process.exitCode = values.help ? 0 : 2;
} else {
  try {
    process.exitCode = suite !== undefined ? await measure(suite) : name === "check" ? await check() : cost();
  } catch (error) {
    if (!isPipelineError(error)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}

async function measure(suite: Suite): Promise<number> {
  const { compare } = values;
  if (compare !== undefined && !existsSync(compare)) return measureRevision(suite, compare);
  const { result, charts, text } = await runSuite(suite, rule, ROOT, say, values.venv === undefined ? {} : { venvFolder: values.venv });
  if (text !== undefined) tell(`${text}\n`);
  tell(resultTable(result));
  const changes = compare === undefined ? undefined : compareResults(readResult(compare), result, compareOptions);
  if (changes !== undefined) tell(`\n${changeTable(changes, "base", "here")}`);
  store(result);
  if (values.html !== undefined) {
    // Drawn only when asked for: the library takes a while to load.
    const { resultPage } = await import("./harness/page.ts");
    writeFileSync(values.html, resultPage(suite.title, result, charts));
  }
  // The headline's fields stand at the top level, too, for whoever reads them by name.
  if (values.json) tell(JSON.stringify({ ...result, ...result.headline, ...(changes && { changes }) }));
  return 0;
}

function measureRevision(suite: Suite, revision: string): number {
  const options = ["--samples", values.samples, "--sample-ms", values["sample-ms"], "--warm-up-ms", values["warm-up-ms"]];
  const { changes, head, commit } = compareRevisions({ root: ROOT, bench: suite.name, revision, rounds, options, say }, compareOptions);
  tell(changeTable(changes, commit.slice(0, 12), "here"));
  store(head);
  if (values.json) tell(JSON.stringify({ ...head, ...head.headline, base: commit, rounds, changes }));
  return 0;
}

async function check(): Promise<number> {
  const reports: { bench: string; changes: Change[] }[] = [];
  for (const bench of CHECKED) {
    const baseline = readResult(join(BASELINES, `${bench}.json`));
    const changes = await checkAgainst(baseline, async () => (await runSuite(SUITES.get(bench)!, rule, ROOT, say)).result, compareOptions);
    tell(`${bench}, baseline of ${baseline.takenAt} on ${baseline.machine.cpu}, load ${baseline.machine.load}`);
    tell(`${changeTable(changes, "base", "here")}\n`);
    reports.push({ bench, changes });
  }
  const worse = reports.flatMap(({ bench, changes }) => changes.filter(isWorse).map((change) => ({ bench, ...change })));
  tell(worse.length === 0 ? "no regression of 20 % or more" : `${worse.length} figures are worse by 20 % or more, or missing`);
  if (values.json) tell(JSON.stringify({ regressions: worse.length, worse, reports }));
  return worse.length === 0 ? 0 : 1;
}

function cost(): number {
  const prices = {
    cloudCoreHour: Number(values["cloud-core-hour"]),
    edgeCoreHour: Number(values["edge-core-hour"]),
    gigabyte: Number(values.gigabyte),
  };
  const [endToEnd, bytes] = ["end-to-end", "bytes"].map((bench) => readResult(join(BASELINES, `${bench}.json`)));
  const rows = costs(endToEnd!, bytes!, prices);
  const money = (value: number) => value.toFixed(4).padStart(10);
  tell(`${"a million windows".padEnd(32)} ${["cloud CPU", "plant CPU", "network", "total"].map((head) => head.padStart(10)).join(" ")}`);
  for (const { way, cloudCpu, edgeCpu, network, total } of rows) {
    tell(`${way.padEnd(32)} ${[cloudCpu, edgeCpu, network, total].map(money).join(" ")}`);
  }
  if (values.json) tell(JSON.stringify({ prices, costs: rows }));
  return 0;
}

function store(result: BenchResult): void {
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(result, null, 2)}\n`);
}
