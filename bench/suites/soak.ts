import { setTimeout as delay } from "node:timers/promises";
import { exact } from "../harness/result.ts";
import type { Suite } from "../harness/suite.ts";
import { drained, startLoaded } from "../topology/load.ts";
import type { Usage } from "../topology/process.ts";
import { TOPOLOGY } from "./end-to-end.ts";

const MINUTES = Number(process.env.BENCH_SOAK_MINUTES ?? 10);
/** Half the knee that `end-to-end` found on two cores; another machine sets its own. */
const WINDOWS_PER_SECOND = Number(process.env.BENCH_SOAK_RATE ?? 15_000);

/** A steady load for minutes: what grows, leaks or stays behind shows. */
export const soak: Suite = {
  name: "soak",
  title: `${MINUTES} minutes at ${WINDOWS_PER_SECOND} windows per second (BENCH_SOAK_MINUTES, BENCH_SOAK_RATE)`,
  async run(_, say) {
    await using topology = await startLoaded(TOPOLOGY);
    topology.offer(WINDOWS_PER_SECOND);
    const minutes: ReadonlyMap<string, Usage>[] = [];
    let p99Ms = 0;
    for (let minute = 0; minute <= MINUTES; minute++) {
      await delay(60_000);
      minutes.push(topology.usage());
      const stored = await topology.stored();
      if (minute > 0) p99Ms = Math.max(p99Ms, stored.p99Ms);
      const memory = [...minutes.at(-1)!].map(([name, { rssMb, files }]) => `${name} ${Math.round(rssMb)} MB ${files} files`).join(", ");
      say(`minute ${minute + 1}: ${Math.round(stored.risks / 60)}/s, p99 ${stored.p99Ms} ms; ${memory}`);
    }
    await drained(topology);
    const [first, last] = [minutes[0]!, minutes.at(-1)!];
    const growth = new Map([...last].map(([name, { rssMb }]) => [name, rssMb / first.get(name)!.rssMb]));
    return {
      headline: { largestGrowth: Math.round(1000 * Math.max(...growth.values())) / 1000, waitingFrames: topology.waiting(), p99Ms },
      measurements: [...last].flatMap(([name, { rssMb, files }]) => [
        exact(`${name}: memory after a minute`, "MB", Math.round(first.get(name)!.rssMb)),
        exact(`${name}: memory at the end`, "MB", Math.round(rssMb)),
        exact(`${name}: open files at the end, beyond those after a minute`, "files", files - first.get(name)!.files),
      ]),
      calibrationUs: 0,
      charts: [
        {
          title: "memory by minute",
          unit: "MB",
          categories: minutes.map((_, i) => String(i + 1)),
          series: [...last.keys()].map((name) => ({ name, values: minutes.map((usage) => Math.round(usage.get(name)!.rssMb)) })),
          stacked: false,
        },
      ],
    };
  },
};
