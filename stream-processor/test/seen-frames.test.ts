import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SeenFrames, type SenderId } from "../src/seen-frames.ts";

const wide = { ranges: 100, epochs: 100, bytes: 1 << 20 };
const id = (sequence: number, gateway = "g", epoch = 1, plant = "p"): SenderId => ({ plant, gateway, epoch, sequence });

const arrivals = fc.array(
  fc.record({
    plant: fc.constantFrom("p", "q"),
    gateway: fc.constantFrom("g", "h"),
    epoch: fc.constantFrom(1, 2),
    sequence: fc.nat({ max: 30 }),
  }),
  { maxLength: 60 },
);

describe("seen frames", () => {
  it("knows exactly what was added, in any order, and through a snapshot", () => {
    fc.assert(
      fc.property(arrivals, arrivals, (before, after) => {
        const seen = new SeenFrames(wide);
        for (const each of before) seen.add(each);
        const restored = new SeenFrames(wide);
        for (const each of after) restored.add(each);
        restored.restore(JSON.parse(JSON.stringify(seen.snapshot())));
        const truth = new Set([...before, ...after].map((each) => JSON.stringify(each)));
        for (const plant of ["p", "q"]) {
          for (const gateway of ["g", "h"]) {
            for (const epoch of [1, 2]) {
              for (let sequence = 0; sequence <= 31; sequence++) {
                const each = { plant, gateway, epoch, sequence };
                expect(restored.has(each)).toBe(truth.has(JSON.stringify(each)));
              }
            }
          }
        }
      }),
      { seed: 3, numRuns: 200 },
    );
  });

  it("keeps a gateway that sends in order in one range", () => {
    const seen = new SeenFrames(wide);
    for (let sequence = 0; sequence < 10_000; sequence++) seen.add(id(sequence));
    expect(seen.snapshot()).toEqual([{ plant: "p", gateway: "g", epoch: 1, ranges: [0, 9999] }]);
  });

  it("forgets the lowest frames of an epoch beyond the bound, and never takes one for seen that was not", () => {
    const seen = new SeenFrames({ ...wide, ranges: 3 });
    for (const sequence of [0, 10, 20, 30]) seen.add(id(sequence));
    expect(seen.snapshot()[0]!.ranges).toEqual([10, 10, 20, 20, 30, 30]);
    for (const sequence of [5, 15, 25]) expect(seen.has(id(sequence))).toBe(false);
  });

  it("keeps its bounds also when it takes up a snapshot that goes beyond them", () => {
    const large = new SeenFrames(wide);
    for (let i = 0; i < 50; i++) for (const epoch of [1, 2, 3]) large.add(id(2 * i, "g", epoch));
    const seen = new SeenFrames({ ...wide, ranges: 4, epochs: 2 });
    seen.restore(large.snapshot());
    expect(seen.snapshot()).toEqual([2, 3].map((epoch) => ({ plant: "p", gateway: "g", epoch, ranges: [92, 92, 94, 94, 96, 96, 98, 98] })));
  });

  it("forgets the epoch of a gateway that was silent for longest: made-up epochs cost only who makes them up", () => {
    const seen = new SeenFrames({ ...wide, epochs: 2 });
    seen.add(id(1, "other"));
    for (let epoch = 1; epoch <= 1000; epoch++) seen.add(id(1, "g", epoch));
    expect(seen.snapshot().map(({ gateway, epoch }) => [gateway, epoch])).toEqual([
      ["other", 1],
      ["g", 999],
      ["g", 1000],
    ]);
  });

  it("keeps its snapshot within its bytes, and leaves a small plant alone however much a large one makes up", () => {
    const bytes = 20_000;
    const seen = new SeenFrames({ ranges: 64, epochs: 8, bytes });
    for (let i = 0; i < 20; i++) seen.add(id(i, `g${i}`, 1, "small"));
    for (let i = 0; i < 20_000; i++) seen.add(id(Number.MAX_SAFE_INTEGER - 3 * i, `g${i % 500}`, Number.MAX_SAFE_INTEGER - i, "large"));
    const text = JSON.stringify(seen.snapshot());
    expect(text.length).toBeLessThanOrEqual(bytes);
    expect(text.length).toBeGreaterThan(bytes / 2);
    for (let i = 0; i < 20; i++) expect(seen.has(id(i, `g${i}`, 1, "small"))).toBe(true);
    // The newest of the large one are still there.
    expect(seen.has(id(Number.MAX_SAFE_INTEGER - 3 * 19_999, "g499", Number.MAX_SAFE_INTEGER - 19_999, "large"))).toBe(true);
  });

  it("counts its bytes so that no order of frames leads beyond the bound", () => {
    fc.assert(
      fc.property(arrivals, fc.integer({ min: 100, max: 600 }), (list, bytes) => {
        const seen = new SeenFrames({ ranges: 3, epochs: 2, bytes });
        for (const each of list) seen.add(each);
        expect(JSON.stringify(seen.snapshot()).length).toBeLessThanOrEqual(bytes + 2);
      }),
      { seed: 5, numRuns: 200 },
    );
  });
});
