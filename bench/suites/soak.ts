import { setTimeout as delay } from "node:timers/promises";
import { exact } from "../harness/result.ts";
import { median } from "../harness/statistics.ts";
import type { Suite } from "../harness/suite.ts";
import { drained, type LoadedTopology, startLoaded } from "../topology/load.ts";
import type { Usage } from "../topology/process.ts";
import { TOPOLOGY } from "./end-to-end.ts";

const MINUTES = Number(process.env.BENCH_SOAK_MINUTES ?? 10);
/** Half the knee that `end-to-end` found on two cores; another machine sets its own. */
const WINDOWS_PER_SECOND = Number(process.env.BENCH_SOAK_RATE ?? 15_000);

/** Memory goes up and down with every collection of garbage: a single look at it is chance. */
const LOOKS_PER_MINUTE = 12;

/** A steady load for minutes, after a first one in which caches fill and code is compiled: what grows, leaks or stays behind shows. */
export const soak: Suite = {
  name: "soak",
  title: `${MINUTES} minutes at ${WINDOWS_PER_SECOND} windows per second (BENCH_SOAK_MINUTES, BENCH_SOAK_RATE)`,
  async run(_, say) {
    await using topology = await startLoaded(TOPOLOGY);
    topology.offer(WINDOWS_PER_SECOND);
    const minutes: ReadonlyMap<string, Usage>[] = [];
    let p99Ms = 0;
    for (let minute = 0; minute <= MINUTES; minute++) {
      minutes.push(await aMinute(topology));
      const stored = await topology.stored();
      if (minute > 0) p99Ms = Math.max(p99Ms, stored.p99Ms);
      const memory = [...minutes.at(-1)!].map(([name, { rssMb, files }]) => `${name} ${Math.round(rssMb)} MB ${files} files`).join(", ");
      say(`minute ${minute}: ${Math.round(stored.risks / 60)}/s, p99 ${stored.p99Ms} ms; ${memory}`);
    }
    await drained(topology);
    const [first, last] = [minutes[1]!, minutes.at(-1)!];
    const growth = new Map([...last].map(([name, { rssMb }]) => [name, rssMb / first.get(name)!.rssMb]));
    return {
      headline: { largestGrowth: Math.round(1000 * Math.max(...growth.values())) / 1000, waitingFrames: topology.waiting(), p99Ms },
      measurements: [...last].flatMap(([name, { rssMb, files }]) => [
        exact(`${name}: memory in minute 1`, "MB", Math.round(first.get(name)!.rssMb)),
        exact(`${name}: memory in the last minute`, "MB", Math.round(rssMb)),
        exact(`${name}: open files at the end, beyond those after minute 1`, "files", files - first.get(name)!.files),
      ]),
      calibrationUs: 0,
      charts: [
        {
          title: "memory by minute",
          unit: "MB",
          categories: minutes.map((_, i) => String(i)),
          series: [...last.keys()].map((name) => ({ name, values: minutes.map((usage) => Math.round(usage.get(name)!.rssMb)) })),
          stacked: false,
        },
      ],
    };
  },
};

/** @returns what each process used in the coming minute: files at its end, the median of its memory */
async function aMinute(topology: LoadedTopology): Promise<ReadonlyMap<string, Usage>> {
  const looks: ReadonlyMap<string, Usage>[] = [];
  while (looks.length < LOOKS_PER_MINUTE) {
    await delay(60_000 / LOOKS_PER_MINUTE);
    looks.push(topology.usage());
  }
  return new Map([...looks.at(-1)!].map(([name, last]) => [name, { ...last, rssMb: median(looks.map((look) => look.get(name)!.rssMb)) }]));
}
