import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { AlertRule } from "../src/decide.ts";
import type { Risk } from "../src/score-reader.ts";
import { RiskStore } from "../src/store.ts";

const headId = "a".repeat(64);
const rules = new Map<string, AlertRule>([[headId, { direction: "above", raise: 0.8, clear: 0.5 }]]);
const plant = "essen";
const risk = (sequence: number, value: number, more: Partial<Risk> = {}): Risk => ({
  gateway: "g1",
  epoch: 1,
  sequence,
  block: 0,
  lane: 0,
  headId,
  output: 0,
  machine: "pump-1",
  frameTimeMs: sequence * 1000,
  closedAtMs: sequence * 1000,
  score: Math.round(value * 1000),
  risk: value,
  ...more,
});
const at = (next: number) => ({ topicId: "scores", partition: 0, next });
const file = () => join(mkdtempSync(join(tmpdir(), "smile-store-")), "risks.db");

it("stores a risk once, however often it comes", () => {
  using store = new RiskStore({ path: ":memory:", plant });
  const first = store.commit({ risks: [risk(1, 0.9), risk(1, 0.9)], cursor: at(1), storedAtMs: 10 }, rules);
  expect(first).toMatchObject({ duplicates: 1, late: 0 });
  const again = store.commit({ risks: [risk(1, 0.9), risk(2, 0.9)], cursor: at(2), storedAtMs: 11 }, rules);
  expect(again.risks.map(({ sequence }) => sequence)).toEqual([2]);
  expect([first.alerts.length, again.alerts.length]).toEqual([1, 0]);
  expect(store.counts()).toEqual({ risks: 2, machines: 1, alerts: 1, openAlerts: 1 });
  expect(store.risksOf("pump-1", { headId, limit: 5 })).toEqual([
    { ...risk(2, 0.9), storedAtMs: 11 },
    { ...risk(1, 0.9), storedAtMs: 10 },
  ]);
});

it("tells apart risks that differ in any part of their id", () => {
  using store = new RiskStore({ path: ":memory:", plant });
  const others: Partial<Risk>[] = [
    {},
    { gateway: "g2" },
    { epoch: 2 },
    { sequence: 9 },
    { block: 1 },
    { lane: 1 },
    { headId: "b".repeat(64) },
    { output: 1 },
  ];
  const { risks } = store.commit({ risks: others.map((other) => risk(1, 0.1, other)), cursor: at(1), storedAtMs: 1 }, rules);
  expect(risks).toHaveLength(others.length);
});

it("raises and clears alerts with the risk that did it, and leaves late windows out", () => {
  using store = new RiskStore({ path: ":memory:", plant });
  const risks = [risk(1, 0.3), risk(4, 0.9), risk(3, 0.1), risk(5, 0.6), risk(6, 0.4)];
  const { alerts, late } = store.commit({ risks, cursor: at(5), storedAtMs: 77 }, rules);
  expect(late).toBe(1);
  expect(alerts.map(({ kind }) => kind)).toEqual(["raised", "cleared"]);
  expect(alerts[0]!.alert).toMatchObject({ machine: "pump-1", raisedAtMs: 4000, raisedRisk: 0.9, storedAtMs: 77, clearedAtMs: null });
  expect(alerts[0]!.alert.raisedBy).toEqual({ gateway: "g1", epoch: 1, sequence: 4, block: 0, lane: 0, headId, output: 0 });
  expect(alerts[1]!.alert).toMatchObject({ id: alerts[0]!.alert.id, clearedAtMs: 6000, clearedRisk: 0.4 });
  expect(store.openAlerts()).toEqual([]);
  expect(store.alerts(10)).toEqual([alerts[1]!.alert]);
  expect(store.counts().risks).toBe(5);
});

it("goes on where it stopped: cursor, open alerts and what it has seen", () => {
  const path = file();
  {
    using store = new RiskStore({ path, plant });
    expect(store.cursor).toEqual({ topicId: null, partition: null, next: null });
    store.commit({ risks: [risk(5, 0.9)], cursor: at(8), storedAtMs: 1 }, rules);
  }
  using store = new RiskStore({ path, plant });
  expect(store.cursor).toEqual(at(8));
  const again = store.commit({ risks: [risk(5, 0.9), risk(4, 0.1), risk(6, 0.2)], cursor: at(9), storedAtMs: 2 }, rules);
  expect(again).toMatchObject({ duplicates: 1, late: 1 });
  expect(again.alerts.map(({ kind }) => kind)).toEqual(["cleared"]);
});

it("stores nothing of a batch that fails", () => {
  using store = new RiskStore({ path: ":memory:", plant });
  const broken = risk(2, Number.NaN);
  expect(() => store.commit({ risks: [risk(1, 0.9), broken], cursor: at(2), storedAtMs: 1 }, rules)).toThrow(
    expect.objectContaining({ code: "STORE_UNAVAILABLE" }),
  );
  expect(store.cursor).toEqual({ topicId: null, partition: null, next: null });
  expect(store.counts()).toEqual({ risks: 0, machines: 0, alerts: 0, openAlerts: 0 });
  expect(store.commit({ risks: [risk(1, 0.9)], cursor: at(2), storedAtMs: 1 }, rules).alerts).toHaveLength(1);
});

it("puts the machines most at risk first, by their newest window, in the head's direction", () => {
  using store = new RiskStore({ path: ":memory:", plant });
  const risks = [risk(1, 0.9), risk(2, 0.2), risk(2, 0.7, { lane: 1, machine: "fan-2" }), risk(2, 0.95, { lane: 2, machine: "fan-3" })];
  store.commit({ risks, cursor: at(1), storedAtMs: 1 }, rules);
  const worst = store.mostAtRisk({ headId, direction: "above", limit: 2 });
  expect(worst.map(({ machine, raised }) => [machine, raised])).toEqual([
    ["fan-3", true],
    ["fan-2", false],
  ]);
  expect(store.mostAtRisk({ headId, direction: "below", limit: 1 })[0]).toMatchObject({ machine: "pump-1", risk: 0.2, frameTimeMs: 2000 });
});

it("keeps the newest risks up to its bound", () => {
  using store = new RiskStore({ path: ":memory:", plant, retainRisks: 10 });
  for (let sequence = 0; sequence < 25; sequence++) {
    store.commit({ risks: [risk(sequence, sequence % 2)], cursor: at(sequence + 1), storedAtMs: sequence }, rules);
  }
  expect(store.counts()).toMatchObject({ risks: 10, machines: 1 });
  expect(store.risksOf("pump-1", { headId, limit: 100 }).map(({ sequence }) => sequence)[9]).toBe(15);
  expect(store.counts().alerts).toBeLessThanOrEqual(11);
});

it("refuses a file that is no store, and the store of another plant, by name", () => {
  const path = file();
  writeFileSync(path, "this is no database, but text that is long enough to be taken for the head of one by careless code");
  expect(() => new RiskStore({ path, plant })).toThrow(expect.objectContaining({ code: "FILE_DAMAGED" }));
  const other = file();
  new RiskStore({ path: other, plant: "ulm" })[Symbol.dispose]();
  expect(() => new RiskStore({ path: other, plant })).toThrow(/is not plant essen's.*FILE_DAMAGED/);
  expect(() => new RiskStore({ path: join(other, "missing", "x.db"), plant })).toThrow(
    expect.objectContaining({ code: "STORE_UNAVAILABLE" }),
  );
});
