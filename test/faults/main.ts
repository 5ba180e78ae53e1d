import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { exitCodes, stopOnSignals } from "@smile/runtime/lifecycle";
import { diskKind } from "./full-disk.ts";
import { mountsOfThisProcess, runIsolated } from "./isolation.ts";
import { trainModel } from "./model.ts";
import { hasPassed, reportOf } from "./report.ts";
import { runSchedule, type ScheduleResult } from "./run-schedule.ts";
import { FAULT_KINDS, type FaultKind, KAFKA_KINDS, scheduleOf, TLS_KINDS, transportOf } from "./schedule.ts";
import { type LogKind, openSharedLog } from "./shared-log.ts";

const USAGE = `npm run test:faults -- [options]

Runs a plant of separate processes through seeded schedules of faults, and compares what gateways were told is safe with what the plant got.

  --seed N             of the first schedule; the next ones count up; default 1
  --schedules K        default 3
  --log embedded|kafka what the services share; default kafka
  --kinds A,B          these kinds of fault only
  --json               the report as one JSON object on the last line
  --help               this text

Kinds: ${FAULT_KINDS.join(", ")}
`;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    schedules: { type: "string", default: "3" },
    log: { type: "string", default: "kafka" },
    kinds: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(USAGE);
  process.exit(exitCodes.stopped);
}
const seed = whole(values.seed, "--seed");
const schedules = whole(values.schedules, "--schedules");
if (values.log !== "embedded" && values.log !== "kafka") misused(`--log is ${values.log}; it must be embedded or kafka`);
const wanted = values.kinds?.split(",") ?? [...FAULT_KINDS];
for (const kind of wanted) if (!(FAULT_KINDS as readonly string[]).includes(kind)) misused(`--kinds: there is no ${kind}`);

// Full disks are file systems of our own: mounted where nobody else sees them, and gone with us whatever ends us.
const mounts = mountsOfThisProcess();
if (mounts === undefined) process.exit(await runIsolated(process.argv.slice(1)));
using signals = stopOnSignals(process);
process.exit(await run(wanted as FaultKind[]));

async function run(kinds: FaultKind[]): Promise<number> {
  const startedMs = performance.now();
  const say = (text: string) => process.stderr.write(`${text}\n`);
  const scratch = tmpdir(); // ours alone
  try {
    await using shared = await openSharedLog(values.log as LogKind);
    const disk = diskKind(mounts === "own", scratch);
    const notRun = kinds.filter((kind) => (kind === "disk-full" && disk === "none") || (KAFKA_KINDS.has(kind) && !shared.kafka));
    for (const kind of notRun) {
      say(`NOT RUN: ${kind}; ${KAFKA_KINDS.has(kind) ? "--log embedded has no Kafka" : "this machine has no way to fill a disk"}`);
    }
    if (disk === "file-size-limit") say("disk-full: by a limit on the size of files, since nothing can be mounted here");
    const model = await trainModel(join(scratch, "model"));
    const results: ScheduleResult[] = [];
    for (let i = 0; i < schedules && !signals.signal.aborted; i++) {
      const faults = scheduleOf(
        seed + i,
        kinds.filter((kind) => !notRun.includes(kind) && !(TLS_KINDS.has(kind) && transportOf(seed + i) === "plain")),
      );
      const label = `seed ${seed + i} (${transportOf(seed + i)})`;
      const told: string[] = [];
      const options = { seed: seed + i, faults, model, scratch, disk, ...shared.options, say: (text: string) => void told.push(text) };
      const stopped = new Promise<"stopped">((resolve) => signals.signal.addEventListener("abort", () => resolve("stopped")));
      const result = await Promise.race([runSchedule(options), stopped]);
      if (result === "stopped") return exitCodes.failed;
      results.push(result);
      const { verdict, problems, seconds } = result;
      say(
        `${label}: ${result.faults.length} faults, ${verdict.acknowledged} windows acknowledged, ${verdict.risks} risks, ${seconds.toFixed(1)} s`,
      );
      if (hasPassed(result)) continue;
      for (const line of told) say(`  ${line}`);
      for (const problem of problems) say(`  PROBLEM: ${problem}`);
      say(`  FAILED: ${JSON.stringify(verdict)}`);
      say(
        `  again: npm run test:faults -- --log ${values.log} --seed ${seed + i} --schedules 1${values.kinds ? ` --kinds ${values.kinds}` : ""}`,
      );
    }
    const report = reportOf(results, notRun, values.log, (performance.now() - startedMs) / 1000);
    process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : `${JSON.stringify(report, null, 2)}\n`);
    return results.length === schedules && results.every(hasPassed) ? exitCodes.stopped : exitCodes.failed;
  } catch (error) {
    if (!isPipelineError(error)) throw error;
    say(error.message);
    return exitCodes.failed;
  } finally {
    say(`${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
  }
}

function whole(text: string, option: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) misused(`${option} is ${text}; it must be a whole number`);
  return value;
}

function misused(what: string): never {
  process.stderr.write(`${what}\n\n${USAGE}`);
  process.exit(exitCodes.misconfigured);
}
