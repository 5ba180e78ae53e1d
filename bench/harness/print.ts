import type { Change } from "./compare.ts";
import type { BenchResult } from "./result.ts";

const round = (value: number) => (Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(4));

/** The figures of a run as text: middle, quartiles, and multiples of the calibration loop. */
export function resultTable(result: BenchResult): string {
  const rows = result.measurements.map(({ name, unit, clock, median, q1, q3, calibrated }) => [
    name,
    round(median),
    unit,
    clock === "exact" ? "" : `${round(q1)} .. ${round(q3)}`,
    calibrated === null ? "" : round(calibrated),
  ]);
  const { machine, revision, headline } = result;
  return [
    columns([["", "median", "", "quartiles", "x calibration"], ...rows]),
    "",
    ...Object.entries(headline).map(([name, value]) => `${name}: ${round(value)}`),
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryMb} MB, ${machine.os}, Node ${machine.node}, load ${machine.load}`,
    `revision ${revision.commit?.slice(0, 12) ?? "unknown"}${revision.changed ? " with changes" : ""}, calibration loop ${round(result.calibrationUs)} us`,
  ].join("\n");
}

/** @param base what the first column of figures is of; `head` likewise */
export function changeTable(changes: readonly Change[], base: string, head: string): string {
  const rows = changes.map(({ name, unit, base: before, head: after, factor, verdict }) => [
    name,
    round(before),
    Number.isNaN(after) ? "-" : round(after),
    unit,
    factor === null ? "-" : factor.toFixed(3),
    verdict === "same" ? "" : verdict,
  ]);
  return columns([["", base, head, "", "factor", ""], ...rows]);
}

function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((text, column) => text.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
