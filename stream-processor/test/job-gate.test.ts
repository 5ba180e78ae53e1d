import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, it } from "vitest";
import { JobGate, type JobGateRule } from "../src/job-gate.ts";

/** A log behind a gate: frames go in through it, and are scored when the test says so. */
function fixture(rule: JobGateRule) {
  const at = { waiting: 0, most: 0, passed: [] as string[], looks: 0 };
  const gate = new JobGate(
    async () => {
      at.looks += 1;
      return at.waiting;
    },
    { lookEveryMs: 1, ...rule },
  );
  const put = (plant: string) =>
    gate.through(plant, async () => {
      await nextTurn();
      at.waiting += 1;
      at.most = Math.max(at.most, at.waiting);
      at.passed.push(plant);
      return true;
    });
  return { at, gate, put };
}

it("lets no more frames into the log than may wait there, and the others as those are scored", async () => {
  const { at, gate, put } = fixture({ limit: 5 });
  using _ = gate;
  const all = Promise.all(Array.from({ length: 40 }, () => put("north")));
  while (at.passed.length < 40) {
    await nextTurn();
    if (at.waiting === 5) at.waiting -= 2;
  }
  await all;
  expect(at.most).toBe(5);
});

it("lets plants pass in turns: a small job waits for one frame of the big one for each of its own", async () => {
  const { at, gate, put } = fixture({ limit: 4 });
  using _ = gate;
  const all = Promise.all(Array.from({ length: 60 }, () => put("north")));
  while (at.passed.length < 4) await nextTurn();
  const small = Promise.all(Array.from({ length: 5 }, () => put("south")));
  const scoring = setInterval(() => (at.waiting = 0), 2);
  await small;
  const until = at.passed.lastIndexOf("south") + 1;
  expect(until - 4).toBeLessThanOrEqual(2 * 5 + 1);
  await all;
  clearInterval(scoring);
});

it("gives the place of a frame that went nowhere to the next, and that of one that failed after the next look", async () => {
  const { at, gate, put } = fixture({ limit: 1 });
  using _ = gate;
  const failed = gate.through("north", () => Promise.reject(new Error("disk full")));
  const refused = Array.from({ length: 20 }, () => gate.through("north", async () => false));
  const taken = put("north");
  await expect(failed).rejects.toThrow("disk full");
  await Promise.all([...refused, taken]);
  expect(at.passed).toEqual(["north"]);
});

it("does not look while nobody waits, nor for each frame while there is room", async () => {
  const { at, gate, put } = fixture({ limit: 1000 });
  using _ = gate;
  await put("north");
  const before = at.looks;
  for (let i = 0; i < 100; i++) await put("north");
  expect(at.looks).toBe(before);
});

it("gives back a frame whose turn does not come, and counts it", async () => {
  const { at, gate, put } = fixture({ limit: 3, longestWaitMs: 20 });
  using _ = gate;
  at.waiting = 3;
  await expect(put("north")).rejects.toThrow(/BACKLOG_FULL/);
  expect({ ...gate.exceeded }).toEqual({ north: 1 });
  expect(gate.waiting).toBe(0);
  at.waiting = 0;
  await put("north");
  expect(at.passed).toEqual(["north"]);
});

it("tells those who wait when the log cannot be looked at, and looks again for the next", async () => {
  let fails = true;
  using gate = new JobGate(
    async () => {
      if (fails) throw new Error("log away");
      return 0;
    },
    { limit: 1 },
  );
  await expect(Promise.all([1, 2].map(() => gate.through("north", async () => true)))).rejects.toThrow("log away");
  fails = false;
  await gate.through("north", async () => true);
});

it("ends all waits when it is disposed", async () => {
  const { at, gate, put } = fixture({ limit: 1 });
  at.waiting = 1;
  const waits = expect(put("north")).rejects.toThrow(/STOPPED/);
  await nextTurn();
  gate[Symbol.dispose]();
  await waits;
  await expect(put("north")).rejects.toThrow(/STOPPED/);
});
