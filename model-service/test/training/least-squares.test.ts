import fc from "fast-check";
import { Matrix, solve } from "ml-matrix";
import { describe, expect, it } from "vitest";
import { Gram } from "../../src/training/gram.ts";
import { fitLogistic, logistic } from "../../src/training/logistic.ts";
import { solveRidge } from "../../src/training/penalised-least-squares.ts";

/** Small deterministic integers in [-127, 127], no two columns alike. */
const features = (count: number, width: number) =>
  Int8Array.from({ length: count * width }, (_, i) => ((i * 7919 + (i % width) * 104_729 + Math.floor(i / width) ** 2) % 255) - 127);

describe("Gram", () => {
  it("equals X^T X exactly for any width and number of rows, across blocks", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 11 }), fc.integer({ min: 1, max: 600 }), (width, rows) => {
        const x = features(rows, width);
        const gram = new Gram(width + 2);
        const full = Array.from({ length: rows }, (_, i) => [...x.subarray(i * width, (i + 1) * width), 1, i % 50]);
        for (let i = 0; i < rows; i++) gram.add(x, i * width, i % 50);
        const matrix = new Matrix(full);
        expect([...gram.finish().sums]).toEqual(matrix.transpose().mmul(matrix).to1DArray());
      }),
      { seed: 8, numRuns: 30 },
    );
  });
});

describe("ridge", () => {
  it("solves the penalised normal equations with a free bias, in units of dequantised features", () => {
    const [rows, width, penalty] = [200, 5, 3];
    const x = features(rows, width);
    const steps = Float64Array.from({ length: width }, (_, j) => (j + 1) / 100);
    const y = Array.from({ length: rows }, (_, i) => 40 + x[i * width]! / 10 - x[i * width + 3]! / 5 + (i % 7));
    const gram = new Gram(width + 2);
    for (let i = 0; i < rows; i++) gram.add(x, i * width, y[i]!);
    const found = solveRidge(gram.finish().sums, steps, penalty);
    const real = new Matrix(Array.from({ length: rows }, (_, i) => [...Array.from(steps, (step, j) => step * x[i * width + j]!), 1]));
    const penalties = Matrix.eye(width + 1).mul(penalty);
    penalties.set(width, width, 0);
    const expected = solve(real.transpose().mmul(real).add(penalties), real.transpose().mmul(Matrix.columnVector(y))).to1DArray();
    [...found.weights, found.bias].forEach((value, j) => {
      expect(value).toBeCloseTo(expected[j]!, 8);
    });
  });

  it("says so when the system has no single solution", () => {
    const gram = new Gram(4);
    for (let i = 0; i < 3; i++) gram.add([0, 0], 0, 1);
    expect(() => solveRidge(gram.finish().sums, Float64Array.of(1, 1), 0)).toThrowError(
      expect.objectContaining({ code: "TRAINING_IMPOSSIBLE" }),
    );
  });
});

describe("logistic regression", () => {
  const [rows, width] = [300, 4];
  const x = features(rows, width);
  const steps = new Float64Array(width).fill(0.02);
  const all = Int32Array.from({ length: rows }, (_, i) => i);
  const fit = (positive: Float64Array, penalty: number) => fitLogistic({ features: x, steps }, all, positive, penalty);
  const scores = (found: ReturnType<typeof fit>) =>
    Array.from(all, (i) => found.weights.reduce((sum, w, j) => sum + w * 0.02 * x[i * width + j]!, found.bias));

  it("stands where the gradient of the penalised likelihood is zero", () => {
    const positive = Float64Array.from(all, (i) => (x[i * width]! - x[i * width + 1]! + 60 * Math.sin(i) > 40 ? 1 : 0));
    const found = fit(positive, 2);
    const misses = scores(found).map((score, i) => positive[i]! - logistic(score));
    expect(misses.reduce((sum, miss) => sum + miss, 0)).toBeCloseTo(0, 4);
    for (let j = 0; j < width; j++) {
      const gradient = misses.reduce((sum, miss, i) => sum + miss * 0.02 * x[i * width + j]!, 0) - 2 * found.weights[j]!;
      expect(gradient).toBeCloseTo(0, 4);
    }
  });

  it("stays finite and right where a plane separates the classes", () => {
    const positive = Float64Array.from(all, (i) => (x[i * width + 2]! > 0 ? 1 : 0));
    const found = fit(positive, 0.1);
    expect(scores(found).filter((score, i) => score > 0 === (positive[i] === 1)).length).toBeGreaterThan(0.98 * rows);
    expect(found.weights.every(Number.isFinite)).toBe(true);
  });
});
