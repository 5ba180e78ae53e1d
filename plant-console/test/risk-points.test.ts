import { describe, expect, it } from "vitest";
import { RiskObserver } from "../src/risk-observer.ts";
import type { Alert, StoredRisk } from "../src/store.ts";

const headId = "0123456789abcdef".repeat(4);
const deployment = { cards: [{ headId, name: "failure-risk", outputs: ["failure"] }] } as unknown as Parameters<RiskObserver["risk"]>[1];
const id = { gateway: "hall-1", epoch: 1, sequence: 2, block: 0, lane: 3, headId, output: 0 };
const risk: StoredRisk = { ...id, machine: "press 7", frameTimeMs: 1000, closedAtMs: 1500, storedAtMs: 1750, score: -42, risk: 0.25 };
const alert: Alert = {
  id: 1,
  machine: "press 7",
  headId,
  output: 0,
  raisedAtMs: 1000,
  raisedRisk: 0.9,
  storedAtMs: 1750,
  clearedAtMs: null,
  clearedRisk: null,
  raisedBy: id,
};
const tags = { plant: "north", machine: "press 7", head: "failure-risk", headId: "0123456789ab", output: "failure" };

function observed(watch: (observer: RiskObserver) => void): unknown[] {
  const points: unknown[] = [];
  watch(new RiskObserver("north", { write: (point) => points.push(point), [Symbol.asyncDispose]: async () => {} }));
  return points;
}

describe("RiskObserver", () => {
  it("writes a risk with its score at the end of its window", () => {
    expect(observed((observer) => observer.risk(risk, deployment))).toEqual([
      { measurement: "smile_machine", tags, fields: { risk: 0.25, score: -42 }, timeMs: 1000 },
    ]);
  });

  it("writes an alert as open when it is raised and as closed when it is cleared", () => {
    const cleared = { ...alert, clearedAtMs: 5000, clearedRisk: 0.1 };
    const events = [{ kind: "raised", alert } as const, { kind: "cleared", alert: cleared } as const];
    expect(observed((observer) => events.forEach((event) => void observer.alert(event, deployment)))).toEqual([
      { measurement: "smile_alert", tags, fields: { open: 1, risk: 0.9 }, timeMs: 1000 },
      { measurement: "smile_alert", tags, fields: { open: 0, risk: 0.1 }, timeMs: 5000 },
    ]);
  });

  it("writes a gap with what is missing and how long it was", () => {
    const gap = {
      gateway: "hall-1",
      epoch: 1,
      fromSequence: 2,
      toSequence: 5,
      frames: 4,
      windows: 16,
      missingFrames: 3,
      missingWindows: 12,
    };
    const lost = { ...gap, fromTimeMs: 10_000, toTimeMs: 70_000, reason: "bytes", storedAtMs: 99_000 } as const;
    expect(observed((observer) => observer.gap(lost, deployment))).toEqual([
      {
        measurement: "smile_gap",
        tags: { plant: "north", gateway: "hall-1", reason: "bytes" },
        fields: { frames: 3, windows: 12, seconds: 60 },
        timeMs: 70_000,
      },
    ]);
  });

  it("names a head by its id and an output by its number where no card knows them", () => {
    const strange = { ...risk, headId: "f".repeat(64), output: 3 };
    expect(observed((observer) => observer.risk(strange, deployment))).toMatchObject([
      { tags: { head: "f".repeat(64), headId: "f".repeat(12), output: "3" } },
    ]);
  });

  it("keeps its figures where no time series is configured", async () => {
    const observer = new RiskObserver("north", undefined);
    observer.risk(risk, deployment);
    observer.alert({ kind: "raised", alert }, deployment);
    expect(observer.lastStoredMs).toBe(1750);
    expect((await observer.latency.metric.get()).values).toContainEqual(
      expect.objectContaining({ metricName: expect.stringMatching(/_sum$/), value: 0.25 }),
    );
  });
});
