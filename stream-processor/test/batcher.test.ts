import { decodeLanes, encodeLanes } from "@smile/he/lanes";
import type { Frame } from "@smile/schemas/envelopes";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { advance, type Input, nextDeadline, type Open, type Placed } from "../src/batcher.ts";

const L = 16;
const limits = { lingerMs: 100, openPerKind: 3 };
const rule = { lanes: L, maxMerges: 4 };

function frame(gateway: string, sequence: number, lanes: number[], keyId = "a"): Frame {
  return {
    plant: "plant",
    scheme: "identity",
    keyMode: "public",
    paramsId: "0".repeat(64),
    keyId: keyId.repeat(64),
    featureSetId: "1".repeat(64),
    gateway,
    epoch: 1,
    sequence,
    block: 0,
    lanes: encodeLanes(lanes, L),
    frameTimeMs: 0,
    closedAtMs: 0,
    jobId: null,
    frameCount: null,
    ciphertextHash: "2".repeat(64),
    ciphertext: new Uint8Array(0),
    signature: new Uint8Array(0),
  };
}

/** Feeds inputs, then ticks long enough for everything to be late; position = index of the input. */
function run(inputs: readonly { atMs: number; frame?: Frame; maxMerges?: number }[]): Placed<number>[][] {
  let open: Open<number> = new Map();
  const released: Placed<number>[][] = [];
  const end = (inputs.at(-1)?.atMs ?? 0) + limits.lingerMs;
  const steps: Input<number>[] = inputs.map(({ atMs, frame, maxMerges = rule.maxMerges }, position) =>
    frame ? { atMs, arrival: { frame, position, rule: { lanes: L, maxMerges } } } : { atMs },
  );
  for (const input of [...steps, { atMs: end }]) {
    const step = advance(open, input, limits);
    open = step.open;
    released.push(...step.ready.map((batch) => [...batch]));
  }
  expect(open.size).toBe(0);
  return released;
}

const names = (batches: Placed<number>[][]) =>
  batches.map((batch) => batch.map(({ frame: { gateway, sequence } }) => `${gateway}${sequence}`));

describe("batcher", () => {
  it("releases a batch at once when every lane is taken", () => {
    const low = frame("g", 1, [0, 1, 2, 3, 4, 5, 6, 7]);
    const high = frame("h", 1, [8, 9, 10, 11, 12, 13, 14, 15]);
    const first = advance(new Map(), { atMs: 0, arrival: { frame: low, position: 0, rule } }, limits);
    expect(first.ready).toEqual([]);
    const second = advance(first.open, { atMs: 1, arrival: { frame: high, position: 1, rule } }, limits);
    expect(second.ready.map((batch) => batch.length)).toEqual([2]);
    expect(second.open.size === 0 || [...second.open.values()].every((batches) => batches.length === 0)).toBe(true);
  });

  it("releases a batch that waited for the linger, and says when that will be", () => {
    const { open } = advance(new Map(), { atMs: 5, arrival: { frame: frame("g", 1, [0]), position: 0, rule } }, limits);
    expect(nextDeadline(open, limits)).toBe(105);
    expect(advance(open, { atMs: 104 }, limits).ready).toEqual([]);
    expect(advance(open, { atMs: 105 }, limits).ready).toHaveLength(1);
  });

  it("puts a frame whose lanes are taken into another batch, where the next gateway can join either", () => {
    const inputs = [frame("g", 1, [0, 1]), frame("g", 2, [0, 1]), frame("h", 1, [2, 3]), frame("h", 2, [2, 3])];
    expect(names(run(inputs.map((each) => ({ atMs: 0, frame: each }))))).toEqual([
      ["g1", "h1"],
      ["g2", "h2"],
    ]);
  });

  it("never merges more frames than the parameters allow, and none in symmetric mode", () => {
    const inputs = [0, 1, 2, 3].map((lane) => frame("g", lane, [lane]));
    expect(names(run(inputs.map((each) => ({ atMs: 0, frame: each, maxMerges: 2 }))))).toEqual([
      ["g0", "g1"],
      ["g2", "g3"],
    ]);
    expect(run(inputs.map((each) => ({ atMs: 0, frame: each, maxMerges: 1 })))).toHaveLength(4);
  });

  it("keeps a bounded number of batches open per kind, and releases the oldest first", () => {
    const inputs = [1, 2, 3, 4, 5].map((sequence) => ({ atMs: 0, frame: frame("g", sequence, [0]) }));
    expect(names(run(inputs))).toEqual([["g1"], ["g2"], ["g3"], ["g4"], ["g5"]]);
  });

  const arrivals = fc.array(
    fc.record({
      gateway: fc.constantFrom("g", "h", "i"),
      key: fc.constantFrom("a", "b"),
      lanes: fc.uniqueArray(fc.nat({ max: L - 1 }), { minLength: 1, maxLength: 6 }),
      gapMs: fc.nat({ max: 60 }),
    }),
    { maxLength: 40 },
  );

  it("never loses, repeats or mixes keys, never lets lanes overlap, and keeps the order within each lane", () => {
    fc.assert(
      fc.property(arrivals, (list) => {
        let atMs = 0;
        const inputs = list.map(({ gateway, key, lanes, gapMs }, i) => {
          atMs += gapMs;
          return { atMs, frame: frame(gateway, i, lanes, key) };
        });
        const batches = run(inputs);
        const positions = batches.flat().map(({ position }) => position);
        expect(positions.toSorted((a, b) => a - b)).toEqual(inputs.map((_, i) => i));
        for (const batch of batches) {
          expect(new Set(batch.map(({ frame }) => frame.keyId)).size).toBe(1);
          expect(batch.length).toBeLessThanOrEqual(rule.maxMerges);
          const taken = batch.flatMap(({ frame }) => decodeLanes(frame.lanes, L));
          expect(new Set(taken).size).toBe(taken.length);
        }
        // Frames that share a lane never swap places; those that share none may be merged out of turn.
        const order = batches.flat();
        order.forEach((later, i) => {
          for (const earlier of order.slice(0, i)) {
            const shared = later.frame.lanes.some((byte, k) => (byte & earlier.frame.lanes[k]!) !== 0);
            if (shared && later.frame.keyId === earlier.frame.keyId) expect(earlier.position).toBeLessThan(later.position);
          }
        });
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  it("never keeps a frame longer than the linger", () => {
    fc.assert(
      fc.property(arrivals, (list) => {
        let open: Open<number> = new Map();
        let atMs = 0;
        for (const [i, { gateway, key, lanes, gapMs }] of list.entries()) {
          atMs += gapMs;
          open = advance(open, { atMs, arrival: { frame: frame(gateway, i, lanes, key), position: i, rule } }, limits).open;
          for (const batches of open.values()) for (const batch of batches) expect(atMs - batch.sinceMs).toBeLessThan(limits.lingerMs);
        }
      }),
      { seed: 7, numRuns: 200 },
    );
  });
});
