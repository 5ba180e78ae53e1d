import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Gap } from "@smile/schemas/envelopes";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Risk } from "../src/score-reader.ts";
import { RiskStore } from "../src/store.ts";

const plant = "essen";
const headId = "a".repeat(64);
const windowsPerFrame = 4;
const gap = (fromSequence: number, toSequence: number, more: Partial<Gap> = {}): Gap => {
  const frames = toSequence - fromSequence + 1;
  const times = { fromTimeMs: fromSequence * 1000, toTimeMs: toSequence * 1000 };
  const signature = new Uint8Array(0);
  const id = { plant, gateway: "g1", epoch: 1, fromSequence, toSequence, signature };
  return { ...id, frames, windows: frames * windowsPerFrame, ...times, reason: "bytes", ...more };
};
/** All risks of one frame by one head. */
const risks = (sequence: number, more: Partial<Risk> = {}): Risk[] =>
  Array.from({ length: windowsPerFrame }, (_, lane) => ({
    ...{ gateway: "g1", epoch: 1, sequence, block: 0, lane, headId, output: 0, machine: `pump-${lane}` },
    ...{ frameTimeMs: sequence * 1000, closedAtMs: sequence * 1000, score: 1, risk: 0.1 },
    ...more,
  }));

function opened(path = ":memory:") {
  const store = new RiskStore({ path, plant });
  let next = 0;
  const commit = (batch: { risks?: Risk[]; gaps?: Gap[] }) =>
    store.commit({ risks: [], ...batch, cursor: { topicId: "t", partition: 0, next: ++next }, storedAtMs: 5 }, new Map());
  return { store, commit, [Symbol.dispose]: () => store[Symbol.dispose]() };
}

it("stores a gap once, tells of it once, and keeps it over a restart", () => {
  const path = join(mkdtempSync(join(tmpdir(), "smile-gaps-")), "risks.db");
  const { plant: _, signature: __, ...said } = gap(3, 5);
  {
    using console = opened(path);
    expect(console.commit({ gaps: [gap(3, 5), gap(3, 5)] }).gaps).toEqual([
      { ...said, storedAtMs: 5, missingFrames: 3, missingWindows: 12 },
    ]);
    expect(console.commit({ gaps: [gap(3, 5)] }).gaps).toEqual([]);
  }
  using again = opened(path);
  expect(again.commit({ gaps: [gap(3, 5), gap(3, 5, { epoch: 2 }), gap(3, 5, { gateway: "g2" })] }).gaps).toHaveLength(2);
  expect(again.store.losses()).toEqual({ gaps: 3, frames: 9, windows: 36 });
  expect(again.store.gaps(1)).toMatchObject([{ gateway: "g2" }]);
});

it("takes off what arrived, before the gap or after it, by whichever head, and no other sender's", () => {
  using console = opened();
  console.commit({ risks: [...risks(4), ...risks(5, { epoch: 2 }), ...risks(6, { gateway: "g2" })] });
  expect(console.commit({ gaps: [gap(3, 6)] }).gaps).toMatchObject([{ frames: 4, missingFrames: 3, missingWindows: 12 }]);
  console.commit({ risks: [...risks(6), ...risks(6, { headId: "b".repeat(64) }), ...risks(7)] });
  expect(console.store.gaps(9)).toMatchObject([{ frames: 4, missingFrames: 2, missingWindows: 8 }]);
  console.commit({ risks: [...risks(3), ...risks(5)] });
  expect(console.store.gaps(9)).toEqual([]);
  expect(console.store.losses()).toEqual({ gaps: 0, frames: 0, windows: 0 });
});

it("says nothing of a gap all of whose frames are there", () => {
  using console = opened();
  console.commit({ risks: [...risks(1), ...risks(2)] });
  expect(console.commit({ gaps: [gap(1, 2)] }).gaps).toEqual([]);
});

it("keeps the first of gaps that overlap, as no gateway of its own accord makes them", () => {
  using console = opened();
  console.commit({ risks: risks(4), gaps: [gap(3, 5)] });
  for (const [from, to] of [
    [3, 9],
    [1, 3],
    [4, 4],
    [0, 100],
    [5, 6],
    [3, 5],
  ] as const)
    expect(console.commit({ gaps: [gap(from, to)] }).gaps).toEqual([]);
  expect(console.commit({ gaps: [gap(6, 9), gap(1, 2), gap(3, 9, { epoch: 2 })] }).gaps).toHaveLength(3);
  expect(console.store.losses()).toMatchObject({ gaps: 4, frames: 2 + 4 + 2 + 7 });
});

it("still says what is lost where stolen keys claim more frames than any integer counts", () => {
  using console = opened();
  const most = 2 ** 53 - 2;
  const huge = (epoch: number) => ({ ...gap(1, 2), epoch, fromSequence: 1, toSequence: most, frames: most, windows: most });
  for (let epoch = 1; epoch <= 1100; epoch += 100) console.commit({ gaps: Array.from({ length: 100 }, (_, i) => huge(epoch + i)) });
  expect(console.store.losses()).toEqual({ gaps: 1100, frames: 1100 * most, windows: 1100 * most });
});

it("counts as missing what was said to be and never came, in whatever order things arrive", () => {
  const ranges = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 6 });
  const arrivals = fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 12 });
  fc.assert(
    fc.property(ranges, arrivals, fc.array(fc.nat(), { minLength: 20, maxLength: 20 }), (lengths, frames, order) => {
      using console = opened();
      const gaps = lengths.map((length, i) => gap(6 * i, 6 * i + length - 1));
      const messages = [...gaps.map((each) => ({ gaps: [each] })), ...frames.map((sequence) => ({ risks: risks(sequence) }))];
      const shuffled = messages.map((message, i) => ({ message, at: order[i % order.length]! + i / 100 })).toSorted((a, b) => a.at - b.at);
      for (const { message } of shuffled) console.commit(message);
      const lost = new Set(gaps.flatMap((each) => Array.from({ length: each.frames }, (_, i) => each.fromSequence + i)));
      for (const sequence of frames) lost.delete(sequence);
      expect(console.store.losses()).toMatchObject({ frames: lost.size, windows: lost.size * windowsPerFrame });
    }),
    { seed: 31, numRuns: 60 },
  );
});
