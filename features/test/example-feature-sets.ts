import { liftWidth } from "../src/feature-count.ts";
import type { FeatureSet } from "../src/spec.ts";

const sensors = ["pressure", "speed", "temperature"];
const standardise = (width: number) => ({
  mean: Array.from({ length: width }, (_, j) => j / 100),
  deviation: Array.from({ length: width }, (_, j) => 0.5 + j / 50),
  clip: 4,
});

/** Two regimes of altitude, windows of one row: the shape of the turbofan feature sets. */
export function degradationSet(changes: Partial<FeatureSet> = {}): FeatureSet {
  const lift = { kind: "degradation", averages: [0.3, 0.1, 0.04], slopeRows: 30, baselineRows: 20, warmupRows: 4 } as const;
  return {
    kind: "feature-set",
    version: 1,
    name: "degradation example",
    sensors,
    window: { lengthMs: 1000, hopMs: 1000, latenessMs: 0 },
    regimes: {
      settings: ["altitude"],
      scale: [10],
      centroids: [[0], [40]],
      mean: [
        [0, 0, 0],
        [5, 5, 5],
      ],
      deviation: [
        [1, 2, 3],
        [3, 2, 1],
      ],
      clip: 6,
    },
    lift,
    standardise: standardise(liftWidth(lift, sensors.length)),
    fourier: { seed: 7, width: 9, bandwidth: 0.4 },
    quantise: { bits: 8 },
    ...changes,
  };
}

/** Windows of ten seconds every five, no regimes. */
export function statisticsSet(changes: Partial<FeatureSet> = {}): FeatureSet {
  const statistics = ["mean", "last", "slope", "deviation", "minimum", "maximum"] as const;
  const lift = { kind: "statistics", statistics, minimumRows: 1 } as const;
  return {
    ...degradationSet(),
    name: "statistics example",
    window: { lengthMs: 10_000, hopMs: 5_000, latenessMs: 0 },
    regimes: null,
    lift,
    standardise: standardise(liftWidth(lift, sensors.length)),
    fourier: null,
    ...changes,
  };
}
