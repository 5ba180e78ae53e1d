import { describe, expect, it } from "vitest";
import { checkFeatureSet } from "../src/check-feature-set.ts";
import { featureCount, liftWidth } from "../src/feature-count.ts";
import { FeatureEncoder } from "../src/feature-encoder.ts";
import { largestFeature, quantisationSteps } from "../src/quantisation-steps.ts";
import { project, projection } from "../src/random-fourier.ts";
import { nearestRegime, normalise } from "../src/regime-normaliser.ts";
import { degradationSet, statisticsSet } from "./example-feature-sets.ts";

describe("encoding", () => {
  const spec = degradationSet();
  const width = liftWidth(spec.lift, 3);

  it("comes back within half a step of the standardised value", () => {
    const lifted = Float64Array.from({ length: width }, (_, j) => Math.sin(j));
    const out = new Int32Array(featureCount(spec));
    expect(new FeatureEncoder(spec).encode(lifted, out)).toBe(0);
    const steps = quantisationSteps(spec);
    lifted.forEach((value, j) => {
      const standardised = (value - spec.standardise.mean[j]!) / spec.standardise.deviation[j]!;
      expect(Math.abs(out[j]! * steps[j]! - standardised)).toBeLessThanOrEqual(steps[j]! / 2 + 1e-12);
    });
  });

  it("clips to the largest integers and counts every feature at a bound", () => {
    const out = new Int32Array(featureCount(spec));
    const lifted = new Float64Array(width).fill(1e6).fill(-1e6, 10);
    expect(new FeatureEncoder(spec).encode(lifted, out)).toBe(width);
    expect([...out.subarray(0, width)]).toEqual([...Array(10).fill(127), ...Array(width - 10).fill(-127)]);
  });

  it("appends sqrt(2) cos(xR + b) in steps of sqrt(2) / 127", () => {
    const lifted = Float64Array.from(spec.standardise.mean); // standardised to 0, so only the phases remain
    const out = new Int32Array(featureCount(spec));
    new FeatureEncoder(spec).encode(lifted, out);
    const { phases } = projection(spec.fourier!, width);
    expect([...out.subarray(width)]).toEqual([...phases].map((phase) => Math.round(Math.cos(phase) * 127) + 0));
  });

  it("has one step per feature, and symmetric integers", () => {
    expect(quantisationSteps(spec)).toHaveLength(featureCount(spec));
    expect(quantisationSteps(spec)[0]).toBeCloseTo(4 / 127, 15);
    expect(quantisationSteps(spec).at(-1)).toBeCloseTo(Math.SQRT2 / 127, 15);
    expect(largestFeature(8)).toBe(127);
    expect(featureCount(statisticsSet())).toBe(18);
  });
});

describe("random projection", () => {
  it("is the same for the same seed and another for the next", () => {
    const make = (seed: number) => [...projection({ seed, width: 3, bandwidth: 0.5 }, 4).directions];
    expect(make(1)).toEqual(make(1));
    expect(make(1)).not.toEqual(make(2));
  });

  it("pins its first numbers, because deployed feature sets name nothing but the seed", () => {
    const { directions, phases } = projection({ seed: 2026, width: 2, bandwidth: 1 }, 2);
    expect([...directions, ...phases].map((x) => x.toFixed(9))).toMatchInlineSnapshot(`
      [
        "3.890066896",
        "-2.383834093",
        "1.766113153",
        "1.896261830",
        "2.871176033",
        "5.333450174",
      ]
    `);
  });

  it("has directions of the stated spread and phases over the whole circle", () => {
    const { directions, phases } = projection({ seed: 5, width: 400, bandwidth: 0.4 }, 50);
    const variance = directions.reduce((sum, x) => sum + x * x, 0) / directions.length;
    expect(Math.sqrt(variance)).toBeCloseTo(0.4 * Math.sqrt(2 / 50), 2);
    expect(Math.min(...phases)).toBeLessThan(0.1);
    expect(Math.max(...phases)).toBeGreaterThan(2 * Math.PI - 0.1);
  });

  it("approximates the Gaussian kernel that its bandwidth stands for", () => {
    const [dimension, width, bandwidth] = [6, 4000, 0.4];
    const made = projection({ seed: 1, width, bandwidth }, dimension);
    const [x, y] = [Float64Array.of(1, 0, -1, 2, 0.5, 0), Float64Array.of(0, 1, -1, 1, 0, 0.5)];
    const lift = (v: Float64Array) => {
      const angles = new Float64Array(width);
      project(made, dimension, v, angles);
      return angles.map((a) => Math.sqrt(2 / width) * Math.cos(a));
    };
    const ly = lift(y);
    const kernel = lift(x).reduce((sum, value, k) => sum + value * ly[k]!, 0);
    const squared = x.reduce((sum, value, j) => sum + (value - y[j]!) ** 2, 0);
    expect(Math.abs(kernel - Math.exp((-squared * bandwidth ** 2) / dimension))).toBeLessThan(0.05);
  });

  it("gives the same angles whatever the grouping of directions", () => {
    const made = projection({ seed: 1, width: 7, bandwidth: 1 }, 5);
    const x = Float64Array.of(1, 2, 3, 4, 5);
    const angles = new Float64Array(7);
    project(made, 5, x, angles);
    for (let k = 0; k < 7; k++) {
      expect(angles[k]).toBe(made.directions.subarray(k * 5, k * 5 + 5).reduce((sum, r, j) => sum + x[j]! * r, made.phases[k]!));
    }
  });
});

describe("regimes", () => {
  const regimes = degradationSet().regimes!;

  it("are those of the nearest centroid, the first on a tie", () => {
    expect([-5, 19, 20, 21, 99].map((altitude) => nearestRegime(regimes, Float64Array.of(altitude)))).toEqual([0, 0, 0, 1, 1]);
  });

  it("normalise by their own mean and deviation and clip", () => {
    const sensors = Float64Array.of(8, 5, 500);
    normalise(regimes, Float64Array.of(38), sensors);
    expect([...sensors]).toEqual([1, 0, 6]);
  });

  it("need no settings when there is one", () => {
    expect(nearestRegime({ centroids: [[]], scale: [] }, new Float64Array(0))).toBe(0);
  });
});

describe("a feature set that cannot work is refused by field", () => {
  const good = degradationSet();
  it.each([
    ["standardise.mean", { ...good, standardise: { ...good.standardise, mean: [1] } }],
    ["standardise.deviation", { ...good, standardise: { ...good.standardise, deviation: good.standardise.deviation.map(() => 0) } }],
    ["window.hopMs", { ...good, window: { ...good.window, hopMs: 0 } }],
    ["sensors", { ...good, sensors: ["a", "a"] }],
    ["quantise.bits", { ...good, quantise: { bits: 1 } }],
    ["fourier.width", { ...good, fourier: { seed: 1, width: 0, bandwidth: 1 } }],
    ["regimes.mean[1]", { ...good, regimes: { ...good.regimes!, mean: [[0, 0, 0], [0]] } }],
  ])("%s", (field, spec) => {
    expect(() => checkFeatureSet(spec)).toThrowError(expect.objectContaining({ code: "DOCUMENT_INVALID", facts: { field } }));
  });

  it("but a good one is not", () => expect(() => checkFeatureSet(good)).not.toThrow());
});
