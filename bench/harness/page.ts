import * as echarts from "echarts";
import type { Chart } from "./chart.ts";
import type { BenchResult } from "./result.ts";

const WIDTH = 1100;
const HEIGHT = 460;

/** A page with plots and figures that needs nothing but itself: no script, no other file. */
export function resultPage(title: string, result: BenchResult, charts: readonly Chart[]): string {
  const { machine, revision, calibrationUs, takenAt, measurements } = result;
  const facts = [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryMb} MB`,
    machine.os,
    `Node ${machine.node}`,
    `load ${machine.load}`,
    `revision ${revision.commit ?? "unknown"}${revision.changed ? " with changes" : ""}`,
    ...(calibrationUs > 0 ? [`calibration loop ${calibrationUs.toFixed(1)} us`] : []),
    takenAt,
  ];
  const rows = measurements.map(({ name, unit, clock, median, q1, q3, mad, samples, calibrated }) => {
    const spread = clock === "exact" ? ["", "", ""] : [`${q1.toFixed(2)} .. ${q3.toFixed(2)}`, mad.toFixed(2), String(samples)];
    return [name, median.toFixed(2), unit, clock, ...spread, calibrated?.toFixed(4) ?? ""]
      .map((cell) => `<td>${escaped(cell)}</td>`)
      .join("");
  });
  const heads = ["", "median", "", "clock", "quartiles", "deviation", "samples", "x calibration"]
    .map((head) => `<th>${head}</th>`)
    .join("");
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>${escaped(title)}</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; max-width: ${WIDTH}px; margin: 2em auto; padding: 0 1em; color: #222; }
  svg { width: 100%; height: auto; }
  table { border-collapse: collapse; font-size: 13px; }
  td, th { padding: 2px 10px; border-bottom: 1px solid #ddd; text-align: left; }
  td:nth-child(2), td:nth-child(8) { text-align: right; font-variant-numeric: tabular-nums; }
</style>
<h1>${escaped(title)}</h1>
<p>${facts.map(escaped).join(" &middot; ")}</p>
${charts.map((chart) => `<figure>${chartSvg(chart)}</figure>`).join("\n")}
<table><tr>${heads}</tr>
${rows.map((row) => `<tr>${row}</tr>`).join("\n")}
</table></html>
`;
}

/** Bars as an SVG element. */
export function chartSvg({ title, unit, categories, series, stacked }: Chart): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height: HEIGHT });
  try {
    chart.setOption({
      animation: false,
      title: { text: title, top: 0 },
      // Without a browser texts are taken for shorter than they are.
      legend: { top: 40, itemGap: 36 },
      grid: { top: 100, bottom: 20, left: 20, right: 20, containLabel: true },
      xAxis: { type: "category", data: [...categories], axisLabel: { interval: 0, width: 150, overflow: "break" } },
      yAxis: { type: "value", name: unit },
      series: series.map(({ name, values }) => ({
        type: "bar" as const,
        name,
        // A difference of two noisy times may come out below zero; a bar cannot.
        data: values.map((value) => Math.max(0, value)),
        ...(stacked ? { stack: "all" } : {}),
      })),
    });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
