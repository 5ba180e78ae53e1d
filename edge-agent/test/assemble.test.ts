import type { LiftedWindow } from "@smile/features/spec";
import fc from "fast-check";
import { expect, it } from "vitest";
import { FrameAssembler, type SealedWindows } from "../src/assemble.ts";
import { laneMap } from "../src/lane-map.ts";
import { aWindow } from "./fixture.ts";

const machines = ["a", "b", "c", "d", "e"];
const places = laneMap({ firstLane: 3, machines }, 4); // a is in block 0, the others in block 1
const rule = { lingerMs: 100, largestOpenEnds: 2 };
const names = (sealed: readonly SealedWindows[]) =>
  sealed.map(({ block, frameTimeMs, entries }) => `${block}@${frameTimeMs}:${entries.map(({ window }) => window.machine).join("")}`);

it("seals a frame once every machine of its block has arrived, and does not wait for other blocks", () => {
  const assembler = new FrameAssembler(places, rule);
  expect(names(assembler.add(aWindow("a", 10), 0))).toEqual(["0@10:a"]);
  for (const machine of ["e", "c", "b"]) expect(assembler.add(aWindow(machine, 10), 0)).toEqual([]);
  expect(names(assembler.add(aWindow("d", 10), 0))).toEqual(["1@10:bcde"]);
  expect(assembler.deadlineMs).toBeNull();
});

it("does not wait for a machine that has gone past a window end", () => {
  const assembler = new FrameAssembler(places, rule);
  for (const machine of ["b", "c", "d"]) assembler.add(aWindow(machine, 10), 0);
  expect(names(assembler.add(aWindow("e", 20), 0))).toEqual(["1@10:bcd"]);
});

it("seals the oldest window end when a newer one goes beyond the bound", () => {
  const assembler = new FrameAssembler(places, rule);
  expect([10, 20].flatMap((endMs) => assembler.add(aWindow("b", endMs), 0))).toEqual([]);
  expect(names(assembler.add(aWindow("b", 30), 0))).toEqual(["1@10:b"]);
});

it("seals after the linger and not before", () => {
  const assembler = new FrameAssembler(places, rule);
  assembler.add(aWindow("b", 10), 5);
  assembler.add(aWindow("c", 10), 90);
  expect(assembler.deadlineMs).toBe(105);
  expect(assembler.tick(104)).toEqual([]);
  expect(names(assembler.tick(105))).toEqual(["1@10:bc"]);
  expect(assembler.deadlineMs).toBeNull();
});

it("refuses and counts windows of machines without a lane", () => {
  const assembler = new FrameAssembler(places, rule);
  expect(assembler.add(aWindow("nobody", 10), 0)).toEqual([]);
  expect(assembler.refused).toBe(1);
  expect(assembler.sealAll()).toEqual([]);
});

it("refuses a lease that names a machine twice", () => {
  expect(() => laneMap({ firstLane: 0, machines: ["a", "b", "a"] }, 4)).toThrow(/machines\[2\]/);
});

type Step = { kind: "window"; machine: string; endMs: number } | { kind: "tick"; ms: number };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("window" as const), machine: fc.constantFrom(...machines, "nobody"), endMs: fc.nat(6) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("tick" as const), ms: fc.nat(150) }) },
);

it("brings out every window exactly once, in its machine's lane, with one window per machine and one end per frame", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 4 }), fc.nat(120), (steps, largestOpenEnds, restartAt) => {
      const changed = { lingerMs: 100, largestOpenEnds };
      let assembler = new FrameAssembler(places, changed);
      const put: LiftedWindow[] = [];
      const sealed: SealedWindows[] = [];
      const waiting = new Set<LiftedWindow>();
      const take = (groups: SealedWindows[]) => {
        sealed.push(...groups);
        for (const { entries } of groups) for (const { window } of entries) waiting.delete(window);
      };
      let refused = 0;
      let atMs = 0;
      steps.forEach((each, i) => {
        if (i === restartAt) {
          const arrived = machines.flatMap((machine) => {
            const endMs = assembler.arrivedMs(machine);
            return endMs === null ? [] : [[machine, endMs] as const];
          });
          refused += assembler.refused;
          assembler = new FrameAssembler(places, changed);
          take(assembler.restore([...waiting], arrived, atMs));
        }
        if (each.kind === "tick") {
          atMs += each.ms;
          take(assembler.tick(atMs));
          return;
        }
        const window = aWindow(each.machine, each.endMs, put.length);
        if (each.machine !== "nobody") {
          put.push(window);
          waiting.add(window);
        }
        take(assembler.add(window, atMs));
      });
      expect(waiting.size).toBeLessThanOrEqual(machines.length * largestOpenEnds);
      take(assembler.sealAll());

      const out = sealed.flatMap(({ entries }) => entries.map(({ window }) => window));
      expect(out.length).toBe(put.length);
      expect(new Set(out)).toEqual(new Set(put));
      expect(refused + assembler.refused).toBe(steps.filter((each) => each.kind === "window" && each.machine === "nobody").length);
      for (const { block, frameTimeMs, entries } of sealed) {
        expect(entries.length).toBeGreaterThan(0);
        expect(new Set(entries.map(({ window }) => window.machine)).size).toBe(entries.length);
        for (const { lane, window } of entries) {
          expect({ block, lane }).toEqual(places.get(window.machine));
          expect(window.endMs).toBe(frameTimeMs);
        }
      }
    }),
    { seed: 20261122, numRuns: 300 },
  );
});
