import { featureCount } from "@smile/features/feature-count";
import type { FeatureSet, Row } from "@smile/features/spec";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

const SECOND_MS = 1000;
/** Rows between two windows of a machine: one a second, a window every ten. */
export const ROWS_PER_WINDOW = 10;

const common = {
  kind: "feature-set",
  version: 1,
  window: { lengthMs: 30 * SECOND_MS, hopMs: ROWS_PER_WINDOW * SECOND_MS, latenessMs: 0 },
  regimes: null,
  quantise: { bits: 8 },
} as const;
const names = (count: number) => Array.from({ length: count }, (_, i) => `sensor ${i}`);
const unstandardised = (width: number) => ({ mean: Array<number>(width).fill(0), deviation: Array<number>(width).fill(1), clip: 4 });

/** Four statistics of 16 sensors: F = 64. */
const statistics: FeatureSet = {
  ...common,
  name: "statistics",
  sensors: names(16),
  lift: { kind: "statistics", statistics: ["mean", "last", "slope", "deviation"], minimumRows: 2 },
  standardise: unstandardised(64),
  fourier: null,
};

/** What the predictive-maintenance models use: the degradation lift of 14 sensors and 256 random Fourier features, F = 341. */
const degradation: FeatureSet = {
  ...common,
  name: "degradation and Fourier",
  sensors: names(14),
  lift: { kind: "degradation", averages: [0.3, 0.1, 0.04], slopeRows: 30, baselineRows: 20, warmupRows: 0 },
  standardise: unstandardised(85),
  fourier: { seed: 1, width: 256, bandwidth: 0.4 },
};

export const EDGE_FEATURE_SETS: readonly { readonly featureSet: FeatureSet; readonly featureCount: number }[] = [
  statistics,
  degradation,
].map((featureSet) => ({ featureSet, featureCount: featureCount(featureSet) }));

/** Rows without end, one a second and machine, the machines in turns; values repeat after a while, times do not. */
export function endlessRows(featureSet: FeatureSet, machines: readonly string[]): () => Row {
  const random = xoroshiro128plus(7);
  const values = Array.from({ length: 97 }, () =>
    Object.fromEntries(featureSet.sensors.map((sensor) => [sensor, 4 * uniformFloat64(random) - 2])),
  );
  let row = 0;
  return () => {
    const timeMs = (1 + Math.floor(row / machines.length)) * SECOND_MS;
    return { machine: machines[row % machines.length]!, timeMs, values: values[row++ % values.length]! };
  };
}
