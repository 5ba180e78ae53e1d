import { ScoringPool } from "@smile/he/scoring-pool";
import { type Samples, type SamplingRule, sampleTogether } from "../harness/sampling.ts";
import { median } from "../harness/statistics.ts";
import { allLanes, encryptedWindows, type Shape } from "./encrypted-windows.ts";

/** Jobs of one sample: so many that its end, where one thread has nothing left to do, is a small part of it. */
const JOBS = 512;

/**
 * Throughput of the scoring pool with one and with two threads, sanitisers made by its workers as in the service, round about.
 * @returns samples by "1 thread", "2 threads" and "2 threads, CPU", the last over all threads, and the median quotient of the first two
 */
export async function workersSpeedup(
  shape: Shape,
  rule: SamplingRule,
): Promise<{ samples: ReadonlyMap<string, Samples>; speedup: number }> {
  using windows = await encryptedWindows(shape, 1);
  await using one = new ScoringPool({ threads: 1 });
  await using two = new ScoringPool({ threads: 2 });
  const lanes = allLanes(windows.plan);
  const job = {
    head: windows.head(1),
    key: { keyId: windows.keys.keyId, publicKey: windows.keys.publicKey },
    ciphertext: windows.frame(1, lanes).ciphertext,
    lanes,
  };
  const run = (pool: ScoringPool) => () => Promise.all(Array.from({ length: JOBS }, () => pool.score(job)));
  const samples = await sampleTogether(
    [
      { name: "1 thread", clock: "wall", perCall: JOBS, run: run(one) },
      { name: "2 threads", clock: "wall", perCall: JOBS, run: run(two) },
      { name: "2 threads, CPU", clock: "cpu", perCall: JOBS, run: run(two) },
    ],
    { ...rule, sampleMs: Math.max(rule.sampleMs, 200), warmUpMs: Math.max(rule.warmUpMs, 500) },
  );
  const alone = samples.get("1 thread")!.us;
  const together = samples.get("2 threads")!.us;
  return { samples, speedup: median(alone.map((us, i) => us / together[i]!)) };
}
