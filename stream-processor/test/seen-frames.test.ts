import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SeenFrames, type SenderId } from "../src/seen-frames.ts";

const wide = { senders: 100, rangesPerSender: 100 };
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

  it("forgets the lowest frames of a sender beyond the bound, and never takes one for seen that was not", () => {
    const seen = new SeenFrames({ senders: 10, rangesPerSender: 3 });
    for (const sequence of [0, 10, 20, 30]) seen.add(id(sequence));
    expect(seen.snapshot()[0]!.ranges).toEqual([10, 10, 20, 20, 30, 30]);
    for (const sequence of [5, 15, 25]) expect(seen.has(id(sequence))).toBe(false);
  });

  it("forgets the sender that was silent for longest beyond the bound", () => {
    const seen = new SeenFrames({ senders: 2, rangesPerSender: 3 });
    seen.add(id(1, "g"));
    seen.add(id(1, "h"));
    seen.add(id(2, "g"));
    seen.add(id(1, "i"));
    expect([seen.has(id(1, "g")), seen.has(id(1, "h")), seen.has(id(1, "i"))]).toEqual([true, false, true]);
  });
});
