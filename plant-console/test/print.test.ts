import { expect, it } from "vitest";
import { alertJson, alertLine, formatRisk, gapJson, gapLine, riskTable } from "../src/print.ts";
import type { AlertEvent } from "../src/store.ts";

const headId = "a".repeat(64);
const card = {
  headId,
  name: "fails-within-48",
  outputs: ["risk"],
  unit: "probability",
  alert: { direction: "above" as const, raise: 0.8, clear: 0.5 },
};
const alert = {
  id: 7,
  machine: "pump-007",
  headId,
  output: 0,
  raisedAtMs: Date.UTC(2026, 0, 3, 4),
  raisedRisk: 0.931,
  storedAtMs: 5,
  clearedAtMs: null,
  clearedRisk: null,
  raisedBy: { gateway: "g", epoch: 1, sequence: 2, block: 0, lane: 3, headId, output: 0 },
};

it("says an alert in one line", () => {
  expect(alertLine({ kind: "raised", alert }, [card])).toBe("2026-01-03T04:00:00Z RAISED   pump-007  fails-within-48  93.1 %");
  const cleared: AlertEvent = { kind: "cleared", alert: { ...alert, clearedAtMs: Date.UTC(2026, 0, 4), clearedRisk: 0.2 } };
  expect(alertLine(cleared, [card])).toBe("2026-01-04T00:00:00Z CLEARED  pump-007  fails-within-48  20.0 %");
});

it("says an alert as one JSON object", () => {
  expect(JSON.parse(alertJson({ kind: "raised", alert }, [card]))).toMatchObject({
    event: "raised",
    model: "fails-within-48",
    machine: "pump-007",
  });
  expect(alertJson({ kind: "raised", alert }, [card])).not.toContain("\n");
});

it("gives a table of the machines most at risk", () => {
  const store = { mostAtRisk: () => [{ machine: "pump-007", headId, output: 0, risk: 0.5, frameTimeMs: 0, raised: true }] };
  expect(riskTable(store, card, { limit: 3 })).toEqual([["pump-007", "50.0 %", "1970-01-01T00:00:00Z", "raised"]]);
  expect(formatRisk(12.34, "cycles")).toBe("12.3 cycles");
});

it("says a gap in one line, and as one JSON object", () => {
  const [fromTimeMs, toTimeMs] = [Date.UTC(2026, 0, 3, 4), Date.UTC(2026, 0, 3, 9, 30)];
  const sequences = { epoch: 1, fromSequence: 7, toSequence: 9, frames: 3 };
  const counts = { windows: 120, missingFrames: 2, missingWindows: 80, storedAtMs: 5 };
  const gap = { gateway: "hall-1", ...sequences, ...counts, fromTimeMs, toTimeMs, reason: "bytes" } as const;
  expect(gapLine(gap)).toBe("2026-01-03T04:00:00Z LOST     hall-1  80 windows until 2026-01-03T09:30:00Z: the spool was full");
  expect(gapLine({ ...gap, reason: "age" })).toContain("they were too old");
  expect(JSON.parse(gapJson(gap))).toEqual({ event: "gap", ...gap });
});
