import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Sanitiser } from "../src/sanitise.ts";
import { SanitiserStock } from "../src/sanitiser-stock.ts";

/** Makes sanitisers that are numbered, one after the other, when it is told to. */
function numberedMaker() {
  const state = { made: 0, asked: [] as number[], failing: false, gates: [] as (() => void)[], gated: false };
  const make = async (count: number): Promise<Sanitiser[]> => {
    state.asked.push(count);
    if (state.gated) await new Promise<void>((open) => state.gates.push(open));
    if (state.failing) throw new Error("no worker");
    return Array.from({ length: count }, () => Uint32Array.of(++state.made));
  };
  return { state, make };
}
const numbersOf = (sanitisers: readonly Sanitiser[]) => sanitisers.map((words) => words[0]!);

describe("sanitiser stock", () => {
  it("hands out each sanitiser once, in any interleaving of takes and refills", async () => {
    const steps = fc.array(fc.oneof(fc.record({ take: fc.integer({ min: 0, max: 5 }) }), fc.constant({ take: -1 })), { maxLength: 25 });
    await fc.assert(
      fc.asyncProperty(steps, fc.integer({ min: 0, max: 6 }), fc.scheduler(), async (script, target, scheduler) => {
        let made = 0;
        const make = (count: number) =>
          scheduler.schedule(Promise.resolve()).then(() => Array.from({ length: count }, (): Sanitiser => Uint32Array.of(++made)));
        const stock = new SanitiserStock(make, target);
        const taken: Promise<readonly Sanitiser[]>[] = [];
        const refills: Promise<void>[] = [];
        for (const { take } of script) {
          if (take < 0) refills.push(stock.refill());
          else taken.push(stock.take(take));
          if (scheduler.count() > 1) await scheduler.waitOne();
        }
        await scheduler.waitAll();
        const numbers = (await Promise.all(taken)).flatMap(numbersOf);
        await Promise.all(refills);
        expect(numbers.length).toBe(script.reduce((sum, { take }) => sum + Math.max(0, take), 0));
        expect(new Set(numbers).size).toBe(numbers.length);
        expect(stock.size).toBeLessThanOrEqual(target);
        expect(stock.size + numbers.length).toBe(made);
      }),
      { numRuns: 200, seed: 30 },
    );
  });

  /** A stock that has been asked for so many before. */
  async function warm(target: number) {
    const { state, make } = numberedMaker();
    const stock = new SanitiserStock(make, target);
    await stock.take(target);
    await stock.take(0);
    state.asked = [];
    state.made = 0;
    return { state, stock };
  }

  it("is filled up to its target and no further", async () => {
    const { state, stock } = await warm(4);
    await stock.refill();
    await stock.refill();
    expect(stock.size).toBe(4);
    expect(state.asked).toEqual([4]);
    expect(numbersOf(await stock.take(3))).toEqual([1, 2, 3]);
    await stock.refill();
    expect(state.asked).toEqual([4, 3]);
  });

  it("makes none ahead for a key that is used once, and never more than were asked for before", async () => {
    const { state, make } = numberedMaker();
    const stock = new SanitiserStock(make, 4);
    const sizes: number[] = [];
    for (let use = 0; use < 6; use++) {
      await stock.take(1);
      await stock.refill();
      sizes.push(stock.size);
    }
    expect(sizes).toEqual([0, 1, 2, 3, 4, 4]);
    expect(state.made).toBe(6 + 4);
  });

  it("makes what it has not got, when it is asked for it", async () => {
    const { state, make } = numberedMaker();
    const stock = new SanitiserStock(make, 0);
    expect(numbersOf(await stock.take(2))).toEqual([1, 2]);
    await stock.refill();
    expect(state.asked).toEqual([2]);
  });

  it("refills once at a time", async () => {
    const { state, stock } = await warm(4);
    state.gated = true;
    const both = [stock.refill(), stock.refill()];
    expect(state.asked).toEqual([4]);
    for (const open of state.gates) open();
    await Promise.all(both);
    expect(stock.size).toBe(4);
  });

  it("passes a failure on to whoever asked, keeps what it has, and recovers", async () => {
    const { state, stock } = await warm(2);
    await stock.refill();
    await stock.take(1);
    state.failing = true;
    await expect(stock.refill()).rejects.toThrow("no worker");
    expect(stock.size).toBe(1);
    await expect(stock.take(3)).rejects.toThrow("no worker");
    state.failing = false;
    expect((await stock.take(3)).length).toBe(3);
    await stock.refill();
    expect(stock.size).toBe(2);
  });
});
