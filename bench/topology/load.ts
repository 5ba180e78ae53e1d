import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { kafkaHome } from "@smile/kafka-local/kafka-jars";
import { startLocalKafka } from "@smile/kafka-local/local-kafka";
import { type DeploymentOptions, prepare } from "./deployment.ts";
import { type Usage, usageOf } from "./process.ts";
import { type Stored, Topology } from "./topology.ts";

const KAFKA_HEAP_MIB = 256;
const SETTLE_MS = 4000;
const MEASURE_MS = 10_000;
/** Beyond it the services do not keep up: the knee lies below. */
const BROKEN_P99_MS = 1000;
const KEPT_UP = 0.97;

export type LoadOptions = Omit<DeploymentOptions, "brokers"> & {
  readonly models?: number;
  /** Options of Node for every service, such as --cpu-prof. */
  readonly node?: readonly string[];
};

/** What one offered load came to. CPU is of all processes, in seconds per second. */
export type Load = Omit<Stored, "refused"> & {
  readonly offered: number;
  readonly emittedPerSecond: number;
  readonly storedPerSecond: number;
  readonly cpu: ReadonlyMap<string, number>;
  readonly usage: ReadonlyMap<string, Usage>;
  /** Frames that waited in the gateways' spools at the end. */
  readonly waiting: number;
};

/** Processes of the topology and a real Kafka, ready for a load. */
export type LoadedTopology = AsyncDisposable & {
  /** Offers a load, lets it settle, measures. */
  at(windowsPerSecond: number, times?: { readonly settleMs?: number; readonly measureMs?: number }): Promise<Load>;
  usage(): ReadonlyMap<string, Usage>;
  offer(windowsPerSecond: number): void;
  stored(): Promise<Stored>;
  /** Frames in the gateways' spools. */
  waiting(): number;
};

export async function startLoaded(options: LoadOptions): Promise<LoadedTopology> {
  await using opened = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "smile-bench-"));
  opened.defer(() => rmSync(folder, { recursive: true, force: true }));
  const kafka = opened.use(await startLocalKafka({ home: kafkaHome(process.env), heapMiB: KAFKA_HEAP_MIB, touchHeap: true }));
  const prepared = await prepare(folder, { ...options, brokers: [kafka.bootstrap] });
  const { models = 1, node = [] } = options;
  const topology = opened.use(await Topology.start(prepared, { models, node }));
  const usage = () => new Map([...topology.usage(), ["kafka", usageOf(kafka.pid!)]]);
  const owned = opened.move();
  return {
    usage,
    offer: (windowsPerSecond) => topology.offer(windowsPerSecond),
    stored: () => topology.stored(),
    waiting: () => topology.news.waiting,
    async at(windowsPerSecond, { settleMs = SETTLE_MS, measureMs = MEASURE_MS } = {}) {
      topology.offer(windowsPerSecond);
      await delay(settleMs);
      await topology.stored();
      const before = usage();
      const emitted = topology.news.windows;
      const beganMs = performance.now();
      await delay(measureMs);
      topology.check();
      const { refused, ...stored } = await topology.stored();
      if (Object.keys(refused).length > 0) throw new Error(`the console refused scores: ${JSON.stringify(refused)}`);
      const after = usage();
      const seconds = (performance.now() - beganMs) / 1000;
      const cpu = [...after].map(([name, { cpuSeconds }]) => [name, (cpuSeconds - before.get(name)!.cpuSeconds) / seconds] as const);
      return {
        ...stored,
        offered: windowsPerSecond,
        emittedPerSecond: (topology.news.windows - emitted) / seconds,
        storedPerSecond: stored.risks / seconds,
        cpu: new Map(cpu),
        usage: after,
        waiting: topology.news.waiting,
      };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Whether the services kept up with what was offered. */
export function keptUp({ offered, storedPerSecond, p99Ms }: Load): boolean {
  return storedPerSecond >= KEPT_UP * offered && p99Ms <= BROKEN_P99_MS;
}

/** One line on a load. */
export function inWords({ offered, storedPerSecond, p50Ms, p99Ms, p999Ms, cpu }: Load): string {
  const total = [...cpu.values()].reduce((sum, each) => sum + each, 0);
  const each = [...cpu].map(([name, cores]) => `${name} ${((1e6 * cores) / storedPerSecond).toFixed(1)}`).join(", ");
  const latency = `p50 ${p50Ms} ms, p99 ${p99Ms} ms, p99.9 ${p999Ms} ms`;
  return `offered ${Math.round(offered)}/s, stored ${Math.round(storedPerSecond)}/s, ${latency}; ${((1e6 * total) / storedPerSecond).toFixed(1)} us of CPU per window (${each})`;
}

/**
 * Steps the offered load up until the services do not keep up, then half way back and forth.
 * @returns every load in the order in which it was tried, and the largest with which they kept up; undefined when none
 */
export async function findKnee(
  topology: LoadedTopology,
  { from, factor, say }: { from: number; factor: number; say: (line: string) => void },
) {
  const loads: Load[] = [];
  let best: Load | undefined;
  const measure = async (rate: number) => {
    const load = await topology.at(rate);
    say(inWords(load));
    return load;
  };
  const attempt = async (rate: number) => {
    let load = await measure(rate);
    if (!keptUp(load)) {
      // On a shared machine the first time may have been somebody else's doing.
      await drained(topology);
      load = await measure(rate);
    }
    loads.push(load);
    if (keptUp(load) && load.offered > (best?.offered ?? 0)) best = load;
    return keptUp(load);
  };
  let rate = from;
  while (!(await attempt(rate)) && best === undefined && rate > 1000) {
    await drained(topology);
    rate /= factor;
  }
  do rate *= factor;
  while (await attempt(rate));
  // What was left waiting must not count against the next attempt.
  let low = rate / factor;
  let high = rate;
  for (let i = 0; i < 2; i++) {
    await drained(topology);
    const middle = Math.sqrt(low * high);
    if (await attempt(middle)) low = middle;
    else high = middle;
  }
  return { loads, knee: best };
}

/** Resolves once everything that was sent is stored. */
export async function drained(topology: LoadedTopology): Promise<void> {
  topology.offer(0);
  for (let quiet = 0; quiet < 2; ) {
    await delay(1000);
    quiet = (await topology.stored()).risks === 0 && topology.waiting() === 0 ? quiet + 1 : 0;
  }
}
