import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { exact } from "../harness/result.ts";
import type { Suite } from "../harness/suite.ts";
import { prepare, SMILE, smileJson } from "../topology/deployment.ts";
import { addPeople } from "../topology/people.ts";
import { Measured } from "../topology/process.ts";
import { Topology } from "../topology/topology.ts";

const RECORDS = Number(process.env.BENCH_RECORDS ?? 1_000_000);
/** The machines' stream beside the job. */
const WINDOWS_PER_SECOND = 1000;
const SETTLE_MS = 5000;
const ALONE_MS = 30_000;
const POLL_MS = 2000;

type Job = { readonly jobId: string; readonly complete: boolean; readonly records: number };

/**
 * A batch of records of people through the services while machines stream: how long it takes, what each process needs, and what the
 * stream's latency becomes. The job's time counts from the start of the command to the last record decrypted and stored.
 */
export const jobs: Suite = {
  name: "jobs",
  title: `${RECORDS.toLocaleString("en")} records of people beside a stream of ${WINDOWS_PER_SECOND} windows per second, on the embedded log`,
  async run(_, say) {
    const folder = mkdtempSync(join(tmpdir(), "smile-bench-"));
    try {
      say("preparing keys, a model and the file of records");
      const prepared = await prepare(folder, {
        ...{ hopMs: 60_000, keyMode: "public", modelPrivacy: "compact", scheme: "bgv", heads: 1, maxMerges: 8 },
        ...{ gateways: 2, machinesPerGateway: 512, partitions: 4 },
      });
      const people = await addPeople(prepared, { records: RECORDS, seed: 1 });
      await using topology = await Topology.start(prepared);
      await topology.add("segment-console", [SMILE, "segment", "console", "--config", people.console], /started/);

      topology.offer(WINDOWS_PER_SECOND);
      await delay(SETTLE_MS);
      await topology.stored();
      await delay(ALONE_MS);
      const alone = await topology.stored();
      say(`alone: ${perSecond(alone.risks, ALONE_MS)} windows/s, p50 ${alone.p50Ms} ms, p99 ${alone.p99Ms} ms`);

      const beganMs = performance.now();
      const run = [SMILE, "segment", "run", "--config", people.source, "--data", people.data, "--json"];
      await using source = new Measured("segment-source", process.execPath, run, { cwd: folder, env: prepared.env });
      let job: Job | undefined;
      let told = 0;
      const peak = new Map<string, number>();
      while (job?.complete !== true) {
        await delay(POLL_MS);
        topology.check();
        for (const each of [...topology.processes, source]) {
          if (each.isRunning) peak.set(each.name, Math.max(peak.get(each.name) ?? 0, each.usage().peakRssMb));
        }
        [job] = jobsOf(prepared.env, people.console, folder);
        const share = (job?.records ?? 0) / RECORDS;
        if (share >= told) {
          say(`${Math.round(100 * share)} % after ${Math.round((performance.now() - beganMs) / 1000)} s`);
          told = share + 0.1;
        }
      }
      const seconds = (performance.now() - beganMs) / 1000;
      const beside = await topology.stored();
      say(`beside: ${perSecond(beside.risks, 1000 * seconds)} windows/s, p50 ${beside.p50Ms} ms, p99 ${beside.p99Ms} ms`);
      const headline = {
        records: job.records,
        seconds: round(seconds),
        recordsPerSecond: Math.round(job.records / seconds),
        p99AloneMs: alone.p99Ms,
        p99BesideMs: beside.p99Ms,
        p99Ratio: round(beside.p99Ms / alone.p99Ms),
        p50AloneMs: alone.p50Ms,
        p50BesideMs: beside.p50Ms,
        windowsPerSecond: perSecond(beside.risks, 1000 * seconds),
        largestRssMb: Math.round(Math.max(...peak.values())),
      };
      const memory = [...peak].map(([name, mb]) => exact(`peak RSS: ${name}`, "MB", Math.round(mb)));
      return { headline, measurements: [exact("job", "s", headline.seconds), ...memory], calibrationUs: 0, charts: [] };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

const perSecond = (count: number, ms: number) => Math.round((1000 * count) / ms);
const round = (value: number) => Math.round(100 * value) / 100;

function jobsOf(env: NodeJS.ProcessEnv, config: string, cwd: string): Job[] {
  const { jobs: found } = smileJson(cwd, env, ["segment", "jobs", "--config", config, "--json"]) as { jobs: Job[] };
  return found;
}
