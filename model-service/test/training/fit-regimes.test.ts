import { describe, expect, it } from "vitest";
import { clusterSettings } from "../../src/training/cluster-settings.ts";
import { fitRegimes } from "../../src/training/fit-regimes.ts";

/** Deterministic noise in [-1, 1]. */
const noise = (i: number) => Math.sin(i * 12.9898) * Math.cos(i * 4.1414);
const conditions = [
  [0, 0, 100],
  [10, 0.25, 100],
  [20, 0.7, 100],
  [25, 0.62, 60],
  [35, 0.84, 100],
  [42, 0.84, 100],
] as const;

describe("operating regimes", () => {
  it("are the points that the settings keep returning to, in an order that does not depend on the rows'", () => {
    const points = Array.from({ length: 3000 }, (_, i) => conditions[(i * 5) % 6]!.map((value, s) => value + 0.003 * noise(3 * i + s)));
    const { centroids } = clusterSettings(points, 3);
    expect(centroids).toHaveLength(6);
    centroids.forEach((centroid, r) => {
      centroid.forEach((value, s) => {
        expect(value).toBeCloseTo(conditions[r]![s]!, 2);
      });
    });
    expect(clusterSettings(points.toReversed(), 3).centroids.map((c) => c.map((v) => v.toFixed(6)))).toEqual(
      centroids.map((c) => c.map((v) => v.toFixed(6))),
    );
  });

  it("are one when the settings only scatter, never vary, or do not exist", () => {
    const scatter = Array.from({ length: 3000 }, (_, i) => [0.003 * noise(2 * i), 0.0005 * noise(2 * i + 1)]);
    expect(clusterSettings(scatter, 2).centroids).toHaveLength(1);
    expect(clusterSettings([[5], [5], [5]], 1)).toEqual({ scale: [1], centroids: [[5]] });
    expect(clusterSettings([], 0)).toEqual({ scale: [], centroids: [[]] });
  });

  it("do not follow an outlier", () => {
    const points = Array.from({ length: 3000 }, (_, i) => (i === 1500 ? [90_000] : [(i % 2) * 10 + 0.01 * noise(i)]));
    for (const [centroid] of clusterSettings(points, 1).centroids) expect(centroid).toBeLessThan(100);
  });
});

describe("normalisation", () => {
  const rows = Array.from({ length: 400 }, (_, i) => ({
    machine: "a",
    timeMs: i,
    values: { level: i % 2, dead: i % 2, halfDead: i % 2 === 0 ? 3 : 5 + noise(i), alive: 10 * (i % 2) + noise(i), broken: Number.NaN },
  }));
  const fit = (sensors: string[], given = rows) => fitRegimes([{ machine: "a", rows: given, failureMs: null }], sensors, ["level"], 6);

  it("drops sensors that say nothing beyond the regime, and keeps those that move in one", () => {
    const { sensors, regimes } = fit(["dead", "halfDead", "alive"]);
    expect(sensors).toEqual(["halfDead", "alive"]);
    expect(regimes.centroids).toEqual([[0], [1]]);
    expect(regimes.mean[0]![0]).toBe(3);
    expect(regimes.deviation[0]![0]).toBe(regimes.deviation[1]![0]);
    expect(regimes.mean[1]![1]).toBeCloseTo(10, 0);
  });

  it("passes over incomplete rows, and says so when none is left or nothing moves", () => {
    const gap = { ...rows[0]!, values: { ...rows[0]!.values, alive: Number.NaN } };
    expect(fit(["alive"], [gap, ...rows])).toEqual(fit(["alive"]));
    expect(() => fit(["broken"])).toThrowError(expect.objectContaining({ code: "TRAINING_IMPOSSIBLE" }));
    expect(() => fit(["dead"])).toThrowError(expect.objectContaining({ code: "TRAINING_IMPOSSIBLE" }));
  });
});
