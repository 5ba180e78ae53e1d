import { exact, type Measurement } from "../harness/result.ts";
import type { Suite } from "../harness/suite.ts";
import { inWords, type Load, type LoadOptions, startLoaded } from "../topology/load.ts";
import { ManyPlants, type PlantsLoad } from "../topology/many-plants-topology.ts";
import { TOPOLOGY, usPerWindow } from "./end-to-end.ts";

/** Ten thousand machines with a window a minute each. */
const MACHINES = 10_000;
const WINDOWS_PER_SECOND = MACHINES / 60;
/** Every machine sends at least once before, so that what is kept of each is there. */
const A_MINUTE = { settleMs: 62_000, measureMs: 60_000 };
/** A process may not open more files than this where the bench was written: two connections for each plant are a few too many. */
const MOST_CONSOLES = 9800;
/** Plants that decrypt what they get, and compare. */
const SAMPLE = 50;

const STEADY_WINDOWS_PER_SECOND = 2000;
const SHORT = { settleMs: 4000, measureMs: 8000 };

/** One thing at a time is different from the first. One plant's batches are one partition's: a second service is there for other plants'. */
const VARIANTS: Readonly<Record<string, Partial<LoadOptions>>> = {
  "64 windows per ciphertext, 1 worker, 1 model service, 1 head": {},
  "32 windows per ciphertext": { leastLanes: 32 },
  "2 workers": { threads: 2 },
  "2 model services": { models: 2 },
  "4 heads": { heads: 4 },
  "16 heads": { heads: 16 },
};

/** What more workers, services, heads and plants cost. */
export const scale: Suite = {
  name: "scale",
  title: "CPU and memory by workers, model services, heads and plants",
  async run(_, say) {
    const loads = new Map<string, Load>();
    for (const [name, variant] of Object.entries(VARIANTS)) {
      await using topology = await startLoaded({ ...TOPOLOGY, ...variant });
      const load = await topology.at(STEADY_WINDOWS_PER_SECOND, SHORT);
      loads.set(name, load);
      say(`${name}: ${inWords(load)}`);
    }
    const sparse = new Map<string, PlantsLoad>();
    const many = async (plants: number, log: "embedded" | "kafka", broker: "built-in" | "mosquitto") => {
      const name = `${plants} plants, ${log} log, ${broker} broker`;
      say(name);
      await using running = await ManyPlants.start(
        {
          ...{ plants, gatewaysPerPlant: MACHINES / plants, consoles: Math.min(plants, MOST_CONSOLES), sample: Math.min(plants, SAMPLE) },
          ...{ log, broker, partitions: 8, threads: 1 },
        },
        say,
      );
      const load = await running.at(WINDOWS_PER_SECOND, A_MINUTE);
      sparse.set(name, load);
      say(plantsInWords(load));
      return load;
    };
    await many(1, "embedded", "built-in");
    await many(100, "embedded", "built-in");
    const own = await many(MACHINES, "embedded", "built-in");
    await many(MACHINES, "embedded", "mosquitto");
    await many(MACHINES, "kafka", "mosquitto");
    return {
      headline: {
        sparsePlants: MACHINES,
        sparseCores: rounded(servicesOf(own).cores),
        sparseRssMb: Math.round(servicesOf(own).rssMb),
        sparseP99Ms: own.p99Ms,
        sparseWrong: [...sparse.values()].reduce((sum, { wrong }) => sum + wrong, 0),
      },
      measurements: [
        ...[...loads].flatMap(([name, load]) => measurementsOf(name, load)),
        ...[...sparse].flatMap(([name, load]) => plantsMeasurementsOf(name, load)),
      ],
      calibrationUs: 0,
      charts: [
        {
          ...{ title: "ten thousand machines, a window a minute each: cores, by process", unit: "cores", stacked: true },
          categories: [...sparse.keys()],
          series: [...new Set([...sparse.values()].flatMap(({ cpu }) => [...cpu.keys()]))].map((name) => ({
            name,
            values: [...sparse.values()].map(({ cpu }) => rounded(cpu.get(name) ?? 0)),
          })),
        },
      ],
    };
  },
};

/** What the operator's services take together: neither Kafka nor an external broker, which others may share. */
function servicesOf({ cpu, usage }: PlantsLoad): { cores: number; rssMb: number } {
  const services = ["stream-processor", "model-service"];
  const sum = (of: (name: string) => number) => services.reduce((total, name) => total + of(name), 0);
  return { cores: sum((name) => cpu.get(name)!), rssMb: sum((name) => usage.get(name)!.rssMb) };
}

/** One line on a load of many plants. */
export function plantsInWords(load: PlantsLoad): string {
  const { sent, scores, ciphertexts, checked, wrong, p50Ms, p99Ms, seconds, cpu, usage } = load;
  const each = [...cpu].map(([name, cores]) => `${name} ${cores.toFixed(2)} cores, ${Math.round(usage.get(name)!.rssMb)} MB`).join("; ");
  const perSecond = (count: number) => (count / seconds).toFixed(0);
  return `sent ${perSecond(sent)}/s, stored ${perSecond(scores)}/s in ${perSecond(ciphertexts)} ciphertexts, ${wrong} of ${checked} wrong, p50 ${p50Ms} ms, p99 ${p99Ms} ms; ${each}`;
}

function measurementsOf(name: string, load: Load): Measurement[] {
  const cores = [...load.cpu].filter(([process]) => process.startsWith("model-service")).reduce((sum, [, each]) => sum + each, 0);
  return [
    exact(`${name}: all processes`, "us/window", usPerWindow(load)),
    exact(`${name}: model service`, "us/window", Math.round((1e7 * cores) / load.storedPerSecond) / 10),
    exact(`${name}: p99`, "ms", load.p99Ms),
  ];
}

function plantsMeasurementsOf(name: string, load: PlantsLoad): Measurement[] {
  return [
    ...[...load.cpu].map(([process, cores]) => exact(`${name}: ${process}`, "cores", rounded(cores))),
    ...[...load.usage].map(([process, { rssMb }]) => exact(`${name}: ${process}, memory`, "MB", Math.round(rssMb))),
    exact(`${name}: windows per ciphertext`, "windows", rounded(load.scores / load.ciphertexts)),
    exact(`${name}: p50`, "ms", load.p50Ms),
    exact(`${name}: p99`, "ms", load.p99Ms),
  ];
}

function rounded(value: number): number {
  return Math.round(1000 * value) / 1000;
}
