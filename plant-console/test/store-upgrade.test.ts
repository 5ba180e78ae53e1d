import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { frameRiskTables } from "../src/frame-risks.ts";
import { newestRiskTables } from "../src/newest-risks.ts";
import { RiskStore } from "../src/store.ts";
import { oldRisksAside } from "../src/upgrade-risks.ts";
import { headIds, machines, oldCommits, rules } from "./fixture-old-store.ts";

const plant = "essen";

/** A file as the release with store version 2 wrote it: `store-v2.sql` is its dump. */
function oldStore(): string {
  const path = join(mkdtempSync(join(tmpdir(), "smile-old-store-")), "risks.db");
  const db = new DatabaseSync(path);
  db.exec(readFileSync(join(import.meta.dirname, "store-v2.sql"), "utf8"));
  db.close();
  return path;
}

/** The same commits in a store of today. */
function sameToday(): RiskStore {
  const store = new RiskStore({ path: ":memory:", plant });
  for (const batch of oldCommits()) store.commit(batch, rules);
  return store;
}

/** All that a store says. */
function told(store: RiskStore) {
  const series = headIds.flatMap((headId) => [0, 1].map((output) => ({ headId, output })));
  return {
    cursor: { ...store.cursor },
    counts: store.counts(),
    gaps: store.gaps(99),
    losses: store.losses(),
    alerts: store.alerts(999).map((alert) => ({ ...alert })),
    open: store.openAlerts().map(({ id }) => id),
    worst: series.map((each) => store.mostAtRisk({ ...each, direction: "above", limit: 9 })),
    risks: series.flatMap((each) => machines.map((machine) => store.risksOf(machine, { ...each, limit: 999 }))),
  };
}

it("says of an old store what it said before, at once and after every restart", () => {
  const path = oldStore();
  using today = sameToday();
  for (let start = 0; start < 2; start++) {
    using upgraded = new RiskStore({ path, plant });
    expect(told(upgraded)).toEqual(told(today));
  }
});

it("goes on with an old store: nothing is stored twice, alerts go on, gaps are filled", () => {
  using today = sameToday();
  using upgraded = new RiskStore({ path: oldStore(), plant });
  const again = oldCommits().map(({ risks, gaps }) => ({ risks, ...(gaps && { gaps }) }));
  const cursor = { topicId: "scores", partition: 0, next: 99 };
  const later = oldCommits()[3]!.risks.map((risk) => ({ ...risk, sequence: 42, frameTimeMs: 99_000, risk: 60 }));
  for (const store of [today, upgraded]) {
    for (const batch of again) expect(store.commit({ ...batch, cursor, storedAtMs: 9000 }, rules)).toMatchObject({ risks: [], gaps: [] });
    const other = oldCommits()[0]!.risks.map((risk) => ({ ...risk, score: risk.score + 1 }));
    expect(store.commit({ risks: other, cursor, storedAtMs: 9000 }, rules).contradictions).toHaveLength(other.length);
  }
  const [stored, expected] = [upgraded, today].map((store) => store.commit({ risks: later, cursor, storedAtMs: 9001 }, rules));
  expect(stored).toEqual(expected);
  expect(stored!.alerts.length).toBeGreaterThan(0);
  expect(told(upgraded)).toEqual(told(today));
});

it("takes over what a start that was cut off had only set aside", () => {
  const path = oldStore();
  const db = new DatabaseSync(path);
  db.exec(`BEGIN; ${oldRisksAside} ${frameRiskTables} ${newestRiskTables} PRAGMA user_version = 3; COMMIT;`);
  db.close();
  using today = sameToday();
  using upgraded = new RiskStore({ path, plant });
  expect(told(upgraded)).toEqual(told(today));
});

it("keeps the bound on risks in an old store, too", () => {
  using upgraded = new RiskStore({ path: oldStore(), plant, retainRisks: 100 });
  const batch = { risks: [{ ...oldCommits()[0]!.risks[0]!, sequence: 50 }], cursor: { topicId: "scores", partition: 0, next: 99 } };
  upgraded.commit({ ...batch, storedAtMs: 9000 }, rules);
  const { risks } = upgraded.counts();
  expect(risks).toBeGreaterThanOrEqual(100);
  expect(risks).toBeLessThan(100 + machines.length);
});
