import type { Chart } from "../harness/chart.ts";
import type { SuiteResult } from "../harness/result.ts";
import type { Suite } from "../harness/suite.ts";
import { contestants, demands } from "./demands.ts";
import { peers } from "./peers.ts";
import { peersTable } from "./table.ts";
import { apartUs, measuredWays, type PeersReport, serviceUs, type Way } from "./way.ts";

/** This code beside TenSEAL, OpenFHE and Concrete ML, which pip installs the first time. */
export const peersSuite: Suite = {
  name: "peers",
  title: "Peers: the same head on the same windows in TenSEAL, OpenFHE and Concrete ML",
  async run(rule, say, { venvFolder } = {}): Promise<SuiteResult> {
    const { report, measurements, calibrationUs } = await peers({ rule, say, ...(venvFolder !== undefined && { venvFolder }) });
    const { ours } = contestants(report);
    const told = demands(report);
    return {
      headline: {
        usPerWindow: serviceUs(ours),
        usPerWindowWithSanitiser: serviceUs(ours) + apartUs(ours),
        ...Object.fromEntries(told.flatMap(({ id, value }) => (value === null ? [] : [[id, value]]))),
        demandsMissed: told.filter(({ met }) => met === false).length,
        peersMissing: report.peers.filter((run) => "missing" in run).length,
      },
      measurements,
      calibrationUs,
      charts: charts(report),
      details: { ...report, demands: told },
      text: peersTable(report),
    };
  },
};

/** A way that takes this many times what the shortest bar takes would leave nothing to see of the others. */
const TIMES_OF_SHORTEST = 100;

function charts({ ours, peers: runs }: PeersReport): Chart[] {
  const ways = [...ours.map((way) => ({ peer: "SMiLe Stream", way })), ...measuredWays(runs)];
  const chart = (title: string, unit: string, series: Readonly<Record<string, (way: Way) => number>>): Chart => {
    const heights = ways.map(({ peer, way }) => ({
      name: `${peer}, ${way.way}`,
      values: Object.values(series).map((value) => value(way)),
      height: Object.values(series).reduce((sum, value) => sum + value(way), 0),
    }));
    const shortest = Math.min(...heights.map(({ height }) => height));
    const shown = heights.filter(({ height }) => height <= TIMES_OF_SHORTEST * shortest);
    return {
      title: `${title}; ${heights.length - shown.length} ways above ${TIMES_OF_SHORTEST} times the least are left out`,
      unit,
      categories: shown.map(({ name }) => name),
      series: Object.keys(series).map((name, i) => ({ name, values: shown.map(({ values }) => values[i]!) })),
      stacked: true,
    };
  };
  return [
    chart("Service CPU per window, batches full", "us/window", { service: serviceUs }),
    chart("Bytes per window, 32 windows of one sender", "B/window", {
      up: ({ bytesAt32 }) => bytesAt32.up,
      down: ({ bytesAt32 }) => bytesAt32.down,
    }),
  ];
}
