import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { type AlertRule, decide } from "../src/decide.ts";
import type { Risk } from "../src/score-reader.ts";
import { type AlertEvent, RiskStore, type StoredRisk } from "../src/store.ts";

const plant = "essen";
const headIds = ["a".repeat(64), "b".repeat(64)] as const;
const rules = new Map<string, AlertRule>([
  [headIds[0], { direction: "above", raise: 0.8, clear: 0.5 }],
  [headIds[1], { direction: "below", raise: 0.2, clear: 0.4 }],
]);

/** What a store has to do, risk by risk, in the plainest way. */
class Model {
  readonly #byId = new Map<string, Risk>();
  readonly #newest = new Map<string, { risk: Risk; openAlert: number }>();
  readonly #alerts: { id: number; machine: string; series: string; raised: Risk; cleared: Risk | null; storedAtMs: number }[] = [];
  readonly risks: StoredRisk[] = [];

  commit(risks: readonly Risk[], storedAtMs: number) {
    const done = { ids: [] as string[], duplicates: 0, contradictions: 0, late: 0, alerts: [] as string[] };
    for (const risk of risks) {
      const { gateway, epoch, sequence, block, lane, headId, output, machine, score } = risk;
      const id = [gateway, epoch, sequence, block, lane, headId, output].join(" ");
      const before = this.#byId.get(id);
      if (before !== undefined) {
        if (before.score === score) done.duplicates++;
        else done.contradictions++;
        continue;
      }
      this.#byId.set(id, risk);
      this.risks.push({ ...risk, storedAtMs });
      done.ids.push(id);
      const series = `${machine} ${headId} ${output}`;
      const newest = this.#newest.get(series);
      const state = newest && { raised: newest.openAlert !== 0, newestMs: newest.risk.frameTimeMs };
      const { late, event } = decide(state, risk.risk, risk.frameTimeMs, rules.get(headId)!);
      if (late) {
        done.late++;
        continue;
      }
      let openAlert = newest?.openAlert ?? 0;
      if (event === "raised") {
        openAlert = this.#alerts.length + 1;
        this.#alerts.push({ id: openAlert, machine, series, raised: risk, cleared: null, storedAtMs });
      } else if (event === "cleared") {
        this.#alerts[openAlert - 1]!.cleared = risk;
        openAlert = 0;
      }
      if (event !== null) done.alerts.push(`${event} ${machine} ${risk.frameTimeMs} ${risk.risk}`);
      this.#newest.set(series, { risk, openAlert });
    }
    return done;
  }

  risksOf(machine: string, headId: string, output: number): StoredRisk[] {
    const own = this.risks.filter((risk) => risk.machine === machine && risk.headId === headId && risk.output === output);
    return own.toReversed().toSorted((a, b) => b.frameTimeMs - a.frameTimeMs);
  }

  worst(headId: string, output: number) {
    return [...this.#newest.values()]
      .filter(({ risk }) => risk.headId === headId && risk.output === output)
      .map(({ risk: { machine, risk, frameTimeMs }, openAlert }) => ({
        machine,
        headId,
        output,
        risk,
        frameTimeMs,
        raised: openAlert !== 0,
      }))
      .toSorted((a, b) => b.risk - a.risk || (a.machine < b.machine ? -1 : 1));
  }

  alerts() {
    return this.#alerts.map(({ id, machine, raised, cleared, storedAtMs }) => {
      const { gateway, epoch, sequence, block, lane, headId, output } = raised;
      const by = { gateway, epoch, sequence, block, lane, headId, output };
      const end = { clearedAtMs: cleared?.frameTimeMs ?? null, clearedRisk: cleared?.risk ?? null };
      return { id, machine, headId, output, raisedAtMs: raised.frameTimeMs, raisedRisk: raised.risk, storedAtMs, ...end, raisedBy: by };
    });
  }

  counts() {
    const open = this.#alerts.filter(({ cleared }) => cleared === null).length;
    const machines = new Set([...this.#newest.values()].map(({ risk }) => risk.machine)).size;
    return { risks: this.risks.length, machines, alerts: this.#alerts.length, openAlerts: open };
  }
}

/** A risk from few of everything, so that ids repeat, times go back, and machines change lanes and blocks. */
const risks = fc
  .record({
    gateway: fc.constantFrom("g1", "g2"),
    sequence: fc.nat(3),
    block: fc.nat(1),
    lane: fc.nat(2),
    head: fc.nat(1),
    output: fc.nat(1),
    time: fc.nat(2),
    step: fc.integer({ min: 0, max: 4 }),
    moved: fc.boolean(),
    otherScore: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  })
  .map(({ sequence, lane, head, time, step, moved, otherScore, ...rest }): Risk => {
    const machine = `m${moved ? (lane + 1) % 3 : lane}`;
    const frameTimeMs = (sequence + time) * 1000;
    const score = sequence * 100 + lane * 10 + (otherScore ? 1 : 0);
    return { ...rest, epoch: 1, sequence, lane, headId: headIds[head]!, machine, frameTimeMs, closedAtMs: 5, score, risk: step / 4 };
  });
/** Risks as they come, and those of a whole frame at once. */
const frames = fc
  .tuple(risks, fc.array(fc.nat(5), { maxLength: 4 }))
  .map(([risk, lanes]) => [
    risk,
    ...[...new Set(lanes)].map((more) => ({ ...risk, lane: risk.lane + more + 1, machine: `m${risk.lane + more + 1}` })),
  ]);
const steps = fc.array(
  fc.record({ risks: fc.array(frames, { maxLength: 6 }).map((all) => all.flat()), end: fc.constantFrom("go on", "reopen", "fail") }),
  { minLength: 1, maxLength: 12 },
);

const eventKey = ({ kind, alert }: AlertEvent) =>
  kind === "raised"
    ? `raised ${alert.machine} ${alert.raisedAtMs} ${alert.raisedRisk}`
    : `cleared ${alert.machine} ${alert.clearedAtMs} ${alert.clearedRisk}`;
const idKey = ({ gateway, epoch, sequence, block, lane, headId, output }: Risk) =>
  [gateway, epoch, sequence, block, lane, headId, output].join(" ");

function expectSame(store: RiskStore, model: Model): void {
  expect(store.counts()).toEqual(model.counts());
  expect(store.alerts(9999).toReversed()).toEqual(model.alerts());
  expect(store.openAlerts()).toEqual(model.alerts().filter(({ clearedAtMs }) => clearedAtMs === null));
  for (const headId of headIds) {
    for (const output of [0, 1]) {
      const worst = model.worst(headId, output);
      for (const limit of [1, 2, 99]) {
        expect(store.mostAtRisk({ headId, output, direction: "above", limit })).toEqual(worst.slice(0, limit));
      }
      for (const machine of new Set(model.risks.map((risk) => risk.machine))) {
        const own = model.risksOf(machine, headId, output);
        expect(store.risksOf(machine, { headId, output, limit: 9999 })).toEqual(own);
        expect(store.risksOf(machine, { headId, output, limit: 2 })).toEqual(own.slice(0, 2));
      }
    }
  }
}

it("does what a list of risks would do, in any order, over restarts and failed commits, whoever reads beside it", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const path = join(mkdtempSync(join(tmpdir(), "smile-store-")), "risks.db");
      let store = new RiskStore({ path, plant });
      const reader = new RiskStore({ path, plant });
      try {
        const model = new Model();
        let storedAtMs = 0;
        for (const step of all) {
          storedAtMs++;
          const cursor = { topicId: "t", partition: 0, next: storedAtMs };
          if (step.end === "fail") {
            const broken = [...step.risks, { ...step.risks[0]!, epoch: 2, risk: Number.NaN }];
            expect(() => store.commit({ risks: broken, cursor, storedAtMs }, rules)).toThrow();
          }
          const stored = store.commit({ risks: step.risks, cursor, storedAtMs }, rules);
          const { ids, alerts, ...numbers } = model.commit(step.risks, storedAtMs);
          expect({ ...stored, contradictions: stored.contradictions.length }).toMatchObject(numbers);
          expect(stored.risks.map(idKey)).toEqual(ids);
          expect(stored.alerts.map(eventKey)).toEqual(alerts);
          if (step.end === "reopen") {
            store[Symbol.dispose]();
            store = new RiskStore({ path, plant });
          }
        }
        expectSame(store, model);
        expectSame(reader, model);
      } finally {
        store[Symbol.dispose]();
        reader[Symbol.dispose]();
      }
    }),
    { seed: 12, numRuns: 40 },
  );
});

it("forgets the oldest frames as soon as the newer ones hold as many risks as are kept, and goes on deciding by what it forgot", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 1, max: 12 }),
      (sizes, kept) => {
        using store = new RiskStore({ path: ":memory:", plant, retainRisks: kept });
        const frame = (sequence: number, lanes: number): Risk[] =>
          Array.from({ length: lanes }, (_, lane) => ({
            ...{ gateway: "g1", epoch: 1, sequence, block: 0, lane, headId: headIds[0], output: 0, machine: `m${lane}` },
            ...{ frameTimeMs: sequence * 1000, closedAtMs: 0, score: 1, risk: 0.9 },
          }));
        sizes.forEach((lanes, i) => {
          store.commit({ risks: frame(i, lanes), cursor: { topicId: "t", partition: 0, next: i }, storedAtMs: i }, rules);
          const stored = sizes.slice(0, i + 1);
          const first = stored.findLastIndex((_, from) => stored.slice(from).reduce((sum, size) => sum + size) >= kept);
          expect(store.counts().risks).toBe(stored.slice(Math.max(first, 0)).reduce((sum, size) => sum + size));
        });
        const late = store.commit({ risks: frame(-1, 5), cursor: { topicId: "t", partition: 0, next: 99 }, storedAtMs: 99 }, rules);
        expect(late.late).toBe(Math.max(...sizes));
        expect(store.counts().openAlerts).toBe(5);
      },
    ),
    { seed: 13, numRuns: 60 },
  );
});
