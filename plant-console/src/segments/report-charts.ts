import * as echarts from "echarts";
import type { ReportFacts } from "./report-facts.ts";

/** Of the page: a column of text on paper and on most screens. */
const WIDTH = 860;
const ROW = 30;
const FRAME = 80;
/** Okabe and Ito's colours, which people who see fewer colours can tell apart (Color Universal Design, 2008). */
const BLUE = "#0072b2";
const ORANGE = "#d55e00";
/** Columns of the profile at most: those in which the groups differ most. */
const MOST_FEATURES = 24;

/** People per group; what is withheld has no bar. */
export function sizesChart({ groups, withheld }: Pick<ReportFacts, "groups" | "withheld">): string {
  const names = [...groups.map(({ name }) => name), ...withheld.map((name) => `${name} (withheld)`)];
  return svg("sizes", names.length, {
    ...rowsOf(names),
    xAxis: { type: "value", name: "people", nameLocation: "middle", nameGap: 26, minInterval: 1 },
    series: [
      {
        ...{ type: "bar", itemStyle: { color: BLUE }, barMaxWidth: 18 },
        data: [...groups.map(({ people }) => people), ...withheld.map(() => null)],
        label: { show: true, position: "right", color: "#222" },
      },
    ],
  });
}

/** Groups by features, in deviations of the column times its weight; null where the console has no profiles. */
export function profileChart({ groups, featureNames }: Pick<ReportFacts, "groups" | "featureNames">): string | null {
  const rows = groups.flatMap(({ name, centroid }) => (centroid === null ? [] : [{ name, centroid }]));
  if (rows.length === 0) return null;
  const spread = (f: number) => Math.max(...rows.map(({ centroid }) => Math.abs(centroid[f]!)));
  const features = featureNames
    .map((name, f) => ({ name, f }))
    .sort((a, b) => spread(b.f) - spread(a.f) || a.f - b.f)
    .slice(0, MOST_FEATURES);
  const most = Math.max(1, ...features.map(({ f }) => spread(f)));
  const scale = { min: -most, max: most, calculable: false, orient: "horizontal", left: "center", bottom: 0, precision: 1 } as const;
  return svg("profile", features.length + 3, {
    ...rowsOf(features.map(({ name }) => name)),
    grid: { left: 240, right: 20, top: 40, bottom: 60 },
    xAxis: { type: "category", position: "top", data: rows.map(({ name }) => name), axisLabel: axisLabel(110), splitArea: { show: true } },
    visualMap: { ...scale, text: ["above average", "below average"], inRange: { color: [BLUE, "#f7f7f7", ORANGE] } },
    series: [
      {
        type: "heatmap",
        data: features.flatMap(({ f }, row) => rows.map(({ centroid }, column) => [column, row, Math.round(10 * centroid[f]!) / 10])),
        label: { show: true, color: "#222" },
        itemStyle: { borderColor: "#fff", borderWidth: 1 },
      },
    ],
  });
}

/** Shares of the groups in the run before and in this one; null where there was none. */
export function driftChart({ groups, earlier }: Pick<ReportFacts, "groups" | "earlier">): string | null {
  if (earlier === null) return null;
  const percent = (share: number) => Math.round(1000 * share) / 10;
  const bars = { type: "bar", barMaxWidth: 12, label: { show: true, position: "right", color: "#222", formatter: "{c} %" } } as const;
  return svg("drift", 1.6 * groups.length + 1, {
    ...rowsOf(groups.map(({ name }) => name)),
    legend: { top: 0 },
    grid: { left: 240, right: 70, top: 40, bottom: 40 },
    xAxis: { type: "value", name: "% of all people", nameLocation: "middle", nameGap: 26 },
    series: [
      { ...bars, name: "before", itemStyle: { color: ORANGE }, data: earlier.shares.map(percent) },
      { ...bars, name: "now", itemStyle: { color: BLUE }, data: groups.map(({ share }) => percent(share)) },
    ],
  });
}

const axisLabel = (width: number) => ({ color: "#222", width, overflow: "truncate" }) as const;

const rowsOf = (names: readonly string[]) => ({
  grid: { left: 240, right: 70, top: 20, bottom: 44 },
  yAxis: { type: "category" as const, data: [...names], inverse: true, axisLabel: axisLabel(220), axisTick: { show: false } },
});

/**
 * Text of an SVG element that needs no script, the same for the same chart. All text in it is escaped by ECharts.
 * @param name before the ids within, so that those of two charts of a page differ
 */
function svg(name: string, rows: number, option: echarts.EChartsOption): string {
  const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height: Math.round(FRAME + ROW * rows) });
  try {
    chart.setOption({ animation: false, textStyle: { fontFamily: "system-ui, sans-serif", color: "#222" }, ...option });
    // Without what reacts to a pointer, whose names count the charts of this process.
    const still = chart.renderToSVGString().replace(/<style[\s\S]*?<\/style>/g, "");
    return still.replace(/ (?:class|ecmeta_\w+)="[^"]*"/g, "").replace(/\bzr\d+-/g, `${name}-`);
  } finally {
    chart.dispose();
  }
}
