import type { Chart } from "../harness/chart.ts";
import { exact, type Measurement } from "../harness/result.ts";
import type { Suite } from "../harness/suite.ts";
import { drained, findKnee, inWords, type Load, type LoadedTopology, type LoadOptions, startLoaded } from "../topology/load.ts";

/** A million machines a minute. */
const MILLION_A_MINUTE = 16_700;
/** Until the services' hot code is compiled, which takes some hundred thousand windows. */
const WARM_UP = { settleMs: 10_000, measureMs: 20_000 };
const WARM_UP_WINDOWS_PER_SECOND = 12_000;
const STEADY = { settleMs: 5000, measureMs: 20_000 };

/** Windows of 64 features, one head; as many gateways and machines as fill their frames. */
export const TOPOLOGY: LoadOptions = {
  ...{ hopMs: 1000, keyMode: "symmetric", modelPrivacy: "compact", scheme: "bgv", heads: 1, maxMerges: 1, leastLanes: 64 },
  ...{ gateways: 4, machinesPerGateway: 4096, partitions: 4, threads: 1 },
};

/** Real MQTT with mutual TLS, real Kafka, a process for each service, gateways' encryption included, all on this machine. */
export const endToEnd: Suite = {
  name: "end-to-end",
  title: "windows per second through every service, each a process of its own, and how long each window takes",
  async run(_, say) {
    say("encrypted");
    const encrypted = await measured(TOPOLOGY, say);
    say("the same without encryption");
    const plain = await plainAt(encrypted.steady.offered, say);
    const { knee, steady, million } = encrypted;
    const headline = {
      kneeWindowsPerSecond: Math.round(knee.storedPerSecond),
      kneeUsPerWindow: usPerWindow(knee),
      ...(million && { millionP99Ms: million.p99Ms, millionStoredPerSecond: Math.round(million.storedPerSecond) }),
      halfP50Ms: steady.p50Ms,
      halfP99Ms: steady.p99Ms,
      halfP999Ms: steady.p999Ms,
      plainHalfP99Ms: plain.p99Ms,
      p99RatioToPlain: Math.round((100 * steady.p99Ms) / plain.p99Ms) / 100,
      plainUsPerWindow: usPerWindow(plain),
    };
    return {
      headline,
      measurements: [
        ...measurementsOf("at the knee", knee),
        ...measurementsOf("at half the knee", steady),
        ...measurementsOf("unencrypted", plain),
      ],
      calibrationUs: 0,
      charts: [cpuChart({ "at the knee": knee, "at half of it": steady, unencrypted: plain }), ...latencyCharts(encrypted.loads)],
    };
  },
};

async function measured(options: LoadOptions, say: (line: string) => void) {
  await using topology = await startLoaded(options);
  await topology.at(WARM_UP_WINDOWS_PER_SECOND, WARM_UP);
  const { loads, knee } = await findKnee(topology, { from: 20_000, factor: 1.3, say });
  if (knee === undefined) throw new Error("the services kept up with no load");
  await drained(topology);
  let million: Load | undefined;
  if (knee.offered >= MILLION_A_MINUTE) {
    million = await steadyAt(topology, MILLION_A_MINUTE);
    say(`a million machines a minute: ${inWords(million)}`);
  }
  const steady = await steadyAt(topology, knee.offered / 2);
  say(`half the knee: ${inWords(steady)}`);
  return { loads, knee, steady, million };
}

async function plainAt(rate: number, say: (line: string) => void): Promise<Load> {
  // The scheme without encryption has one key, and a register takes it for one gateway: that one has all the machines.
  const machinesPerGateway = TOPOLOGY.gateways * TOPOLOGY.machinesPerGateway;
  await using topology = await startLoaded({ ...TOPOLOGY, scheme: "identity", gateways: 1, machinesPerGateway });
  await topology.at(WARM_UP_WINDOWS_PER_SECOND, WARM_UP);
  const load = await steadyAt(topology, rate);
  say(inWords(load));
  return load;
}

/** The middle one of three by p99, which few windows decide. */
async function steadyAt(topology: LoadedTopology, rate: number): Promise<Load> {
  const loads: Load[] = [];
  for (let i = 0; i < 3; i++) loads.push(await topology.at(rate, STEADY));
  return loads.toSorted((a, b) => a.p99Ms - b.p99Ms)[1]!;
}

export function usPerWindow({ cpu, storedPerSecond }: Load): number {
  const cores = [...cpu.values()].reduce((sum, each) => sum + each, 0);
  return Math.round((1e7 * cores) / storedPerSecond) / 10;
}

export function measurementsOf(name: string, { cpu, usage, storedPerSecond, p50Ms, p99Ms, p999Ms }: Load): Measurement[] {
  return [
    ...[...cpu].map(([process, cores]) => exact(`${name}: ${process}`, "us/window", Math.round((1e7 * cores) / storedPerSecond) / 10)),
    ...[...usage].map(([process, { rssMb }]) => exact(`${name}: ${process}, memory`, "MB", Math.round(rssMb))),
    exact(`${name}: p50`, "ms", p50Ms),
    exact(`${name}: p99`, "ms", p99Ms),
    exact(`${name}: p99.9`, "ms", p999Ms),
  ];
}

function cpuChart(loads: Readonly<Record<string, Load>>): Chart {
  const processes = [...Object.values(loads)[0]!.cpu.keys()];
  const cost = ({ cpu, storedPerSecond }: Load, process: string) => Math.round((1e7 * (cpu.get(process) ?? 0)) / storedPerSecond) / 10;
  return {
    title: "CPU per window, by process",
    unit: "us",
    categories: Object.keys(loads),
    series: processes.map((process) => ({ name: process, values: Object.values(loads).map((load) => cost(load, process)) })),
    stacked: true,
  };
}

function latencyCharts(loads: readonly Load[]): Chart[] {
  const byRate = loads.toSorted((a, b) => a.offered - b.offered);
  return [
    {
      title: "window closed to risk stored, by offered windows per second",
      unit: "ms",
      categories: byRate.map(({ offered }) => String(Math.round(offered))),
      series: [
        { name: "p50", values: byRate.map(({ p50Ms }) => p50Ms) },
        { name: "p99", values: byRate.map(({ p99Ms }) => p99Ms) },
      ],
      stacked: false,
    },
  ];
}
