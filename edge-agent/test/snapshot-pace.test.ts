import fc from "fast-check";
import { expect, it } from "vitest";
import { SnapshotPace, STATE_OVERHEAD_BYTES } from "../src/snapshot-pace.ts";

const STATE_BYTES = 4000;
const ROW_BYTES = 100;
const MACHINES = 30;
const snapshot = (machine: string) => ({ machine, snapshot: "s".repeat(STATE_BYTES) });

it("writes about as many bytes of states as of rows, and keeps no more rows than all states together, whoever falls silent", () => {
  const commits = fc.array(fc.array(fc.nat(MACHINES - 1), { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(commits, fc.integer({ min: 50, max: 400 }), (pattern, rounds) => {
      const pace = new SnapshotPace();
      const log: { commit: number; bytes: number }[] = [];
      let [rows, states] = [0, 0];
      for (let commit = 1; commit <= rounds; commit++) {
        const machines = pattern[commit % pattern.length]!;
        for (const machine of machines) pace.wait(`m${machine}`, commit);
        const plan = pace.plan(machines.length * ROW_BYTES, snapshot, []);
        const from = pace.neededFrom(plan) ?? commit + 1;
        pace.done(plan);
        rows += machines.length * ROW_BYTES;
        states += plan.states.size * STATE_BYTES;
        log.push({ commit, bytes: machines.length * ROW_BYTES });
        while (log.length > 0 && log[0]!.commit < from) log.shift();
        expect(states).toBeLessThanOrEqual(rows + STATE_BYTES);
        expect(log.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual((MACHINES + 2) * (STATE_BYTES + STATE_OVERHEAD_BYTES));
      }
    }),
    { seed: 6, numRuns: 60 },
  );
});

it("keeps the rows of every machine whose state is older, over commits that fail", () => {
  fc.assert(
    fc.property(fc.array(fc.record({ machine: fc.nat(5), fails: fc.boolean(), required: fc.boolean() }), { maxLength: 200 }), (steps) => {
      const pace = new SnapshotPace();
      /** Commits since each machine's state. */
      const behind = new Map<string, number[]>();
      let commit = 1;
      for (const { machine, fails, required } of steps) {
        const name = `m${machine}`;
        pace.wait(name, commit);
        behind.set(name, [...(behind.get(name) ?? []), commit]);
        const plan = pace.plan(ROW_BYTES, snapshot, required ? [name] : []);
        if (fails) continue;
        for (const done of plan.states.keys()) behind.delete(done);
        const needed = [...behind.values()].flat();
        expect(pace.neededFrom(plan)).toBe(needed.length === 0 ? undefined : Math.min(...needed));
        pace.done(plan);
        commit++;
      }
    }),
    { seed: 7, numRuns: 60 },
  );
});
