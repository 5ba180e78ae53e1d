import fc from "fast-check";
import { expect, it } from "vitest";
import { type Lane, SendSchedule } from "../src/send-schedule.ts";

/** What happens at a time: messages come into either queue, and the window has room for some. */
type Step = { readonly afterMs: number; readonly live: number; readonly backlog: number; readonly slots: number };
type Turn = { readonly atMs: number; readonly lane: Lane; readonly waiting: Readonly<Record<Lane, number>> };

/** Turns given, and the times at which a slot stayed empty with something waiting. */
function simulate(perSecond: number, steps: readonly Step[]) {
  const schedule = new SendSchedule(perSecond, 0);
  const waiting = { live: 0, backlog: 0 };
  const turns: Turn[] = [];
  const idle: { atMs: number; live: number; waitMs: number }[] = [];
  let atMs = 0;
  for (const { afterMs, live, backlog, slots } of steps) {
    atMs += afterMs;
    waiting.live += live;
    waiting.backlog += backlog;
    for (let slot = 0; slot < slots && waiting.live + waiting.backlog > 0; slot++) {
      const lane = schedule.take({ live: waiting.live > 0, backlog: waiting.backlog > 0 }, atMs);
      if (lane === null) {
        idle.push({ atMs, live: waiting.live, waitMs: schedule.waitMs(atMs) });
        break;
      }
      expect(waiting[lane]).toBeGreaterThan(0);
      turns.push({ atMs, lane, waiting: { ...waiting } });
      waiting[lane]--;
    }
  }
  return { turns, idle };
}

const steps = fc.array(fc.record({ afterMs: fc.nat(200), live: fc.nat(8), backlog: fc.nat(40), slots: fc.nat(16) }), {
  minLength: 1,
  maxLength: 60,
});
const rates = fc.constantFrom(0.5, 5, 50, 200, 2000);
const check = (holds: (perSecond: number, result: ReturnType<typeof simulate>) => void) =>
  fc.assert(
    fc.property(rates, steps, (perSecond, list) => holds(perSecond, simulate(perSecond, list))),
    { seed: 17, numRuns: 150 },
  );

it("sends no more of a backlog in any time than its rate and a small burst allow", () => {
  check((perSecond, { turns }) => {
    const times = turns.filter(({ lane }) => lane === "backlog").map(({ atMs }) => atMs);
    const burst = Math.max(1, perSecond * 0.1);
    for (let i = 0; i < times.length; i++) {
      for (let j = i; j < times.length; j++) {
        expect(j - i + 1).toBeLessThanOrEqual(burst + ((times[j]! - times[i]!) * perSecond) / 1000 + 1e-6);
      }
    }
  });
});

it("lets a live message wait for one of the backlog at most before it", () => {
  check((_, { turns }) => {
    for (let i = 1; i < turns.length; i++) {
      if (turns[i]!.lane === "backlog" && turns[i - 1]!.lane === "backlog") expect(turns[i]!.waiting.live).toBe(0);
    }
  });
});

it("leaves a slot empty only when no live message waits and the rate keeps the backlog back, and says for how long", () => {
  check((perSecond, { idle }) => {
    for (const { live, waitMs } of idle) {
      expect(live).toBe(0);
      expect(waitMs).toBeGreaterThan(0);
      expect(waitMs).toBeLessThanOrEqual(Math.ceil(1000 / perSecond));
    }
  });
});

it("gives the backlog every fourth turn while live messages never end", () => {
  const flood: Step[] = Array.from({ length: 50 }, () => ({ afterMs: 100, live: 16, backlog: 16, slots: 16 }));
  const { turns } = simulate(1000, flood);
  for (let i = 0; i + 4 <= turns.length; i++) {
    expect(turns.slice(i, i + 4).filter(({ lane }) => lane === "backlog")).toHaveLength(1);
  }
});
