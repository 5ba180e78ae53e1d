import { median } from "../harness/statistics.ts";
import { contestants, demands } from "./demands.ts";
import { apartUs, type PeersReport, relativeSpread, serviceSamples, serviceUs, type Way } from "./way.ts";

const COLUMNS = [
  "way",
  "windows/batch",
  "encrypt us",
  "service us",
  "spread",
  "of it compute",
  "decrypt us",
  "ours/it",
  "up B",
  "down B",
  "up B at 32",
  "down B at 32",
  "key B",
  "largest error",
  "relative",
  "CPU/wall",
] as const;

const VERDICTS = new Map([
  [true, "met    "],
  [false, "NOT MET"],
  [null, "       "],
]);

/** The comparison as text: a table, parameters and versions, what could not be run and why, and the demands. */
export function peersTable(report: PeersReport): string {
  const { ours } = contestants(report);
  const us = serviceUs(ours);
  const rows = [
    ...report.ours.map((way) => row("SMiLe Stream", way, us)),
    ...report.peers.flatMap((run) =>
      "missing" in run ? [] : run.ways.flatMap((way) => ("failed" in way ? [] : [row(`${run.peer} ${run.version}`, way, us)])),
    ),
  ];
  const parts = [
    `${report.windows} windows of ${report.features} 8-bit features, one head of 11-bit weights. Microseconds are of the CPU and per window,`,
    "bytes are of serialised ciphertexts and per window. Service: from bytes to bytes. Error: in units of the integer score.",
    "",
    ...aligned([[...COLUMNS], ...rows]),
    "",
    ...report.ours.map((way) => `SMiLe Stream, ${way.way}: making a sanitiser: ${figure(apartUs(way))} us per window more`),
    "No peer hides the weights in its replies.",
    "",
    ...notes(report),
    "",
    ...demands(report).map(
      ({ text, value, wanted, met }) => `${VERDICTS.get(met)} ${value === null ? "not measured" : figure(value)} (${wanted}): ${text}`,
    ),
  ];
  return parts.join("\n");
}

function row(whose: string, way: Way, oursUs: number): string[] {
  const service = serviceUs(way);
  const compute = way.service.compute;
  return [
    `${whose}, ${way.way}`,
    String(way.windowsPerBatch),
    figure(median(way.encrypt)),
    figure(service),
    `${(100 * relativeSpread(serviceSamples(way))).toFixed(0)} %`,
    compute === undefined ? "-" : figure(median(compute)),
    figure(median(way.decrypt)),
    figure(oursUs / service),
    figure(way.bytes.up),
    figure(way.bytes.down),
    figure(way.bytesAt32.up),
    figure(way.bytesAt32.down),
    figure(way.keyBytes.public + way.keyBytes.evaluation),
    figure(way.largestError),
    figure(way.largestError / way.largestScore),
    way.coresBusy.toFixed(1),
  ];
}

function notes({ ours, peers }: PeersReport): string[] {
  const settings = (whose: string, { way, parameters }: Way) =>
    `${whose}, ${way}: ${Object.entries(parameters)
      .map(([key, value]) => `${key} ${typeof value === "string" ? value : JSON.stringify(value)}`)
      .join(", ")}`;
  return [
    ...ours.map((way) => settings("SMiLe Stream", way)),
    ...peers.flatMap((run) => {
      if ("missing" in run) return [`${run.peer}: not measured: ${run.missing}`];
      const whose = `${run.peer} ${run.version}${run.python === undefined ? "" : ` (Python ${run.python})`}`;
      return run.ways.map((way) => ("failed" in way ? `${whose}, ${way.way}: not measured: ${way.failed}` : settings(whose, way)));
    }),
  ];
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)));
  return rows.map((cells) => cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "));
}

/** Three significant digits, whole numbers from a hundred on. */
export function figure(value: number): string {
  if (value === 0) return "0";
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en").replaceAll(",", " ");
  return Math.abs(value) < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}
