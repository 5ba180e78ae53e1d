import { describe, expect, it } from "vitest";
import { BlockProfiler } from "./coverage.ts";
import { examine, fuzz } from "./fuzzer.ts";
import { keptCases } from "./kept.ts";

const profiler = new BlockProfiler();
// What is imported before the profiler starts is counted by the function, not by the block.
const { TARGETS } = await import("./targets.ts");
const { MUTANTS } = await import("./mutants.ts");

/** The bound within which every mutant's mistake is found. */
const RUNS = 1200;

describe("what parses bytes from outside", () => {
  it.each(keptCases())("takes $target/$name, which once did harm, or refuses it", ({ target: name, input }) => {
    const target = TARGETS.find((one) => one.name === name)!;
    expect(target, "a folder of kept cases is a target's").toBeDefined();
    expect(examine(target, input, target.take(target.seeds[0]!))).toBeUndefined();
  });

  it.each(TARGETS)("$name does nothing with mutated inputs that it may not do", (target) => {
    const { runs, corpus, findings } = fuzz(target, profiler, { seed: 1, runs: 60 });
    expect(findings).toEqual([]);
    expect(runs).toBe(60);
    expect(corpus.length, "mutations reach more than the seeds did").toBeGreaterThan(target.seeds.length);
  });
});

describe("the fuzzer", () => {
  it.each(MUTANTS.map((mutant) => ({ ...mutant, name: mutant.target.name })))("finds the mutant '$name'", ({ target, kind, detail }) => {
    // What is left behind is known at the end only.
    const { findings } = fuzz(target, profiler, { seed: 1, runs: kind === "leak" ? 100 : RUNS, untilFound: true });
    expect(findings).toContainEqual({ target: target.name, kind, detail: expect.stringMatching(detail), input: expect.any(Uint8Array) });
  });

  it("finds what lies behind several branches by coverage only, not by chance", () => {
    const { target } = MUTANTS.find((mutant) => mutant.target.name === "deep branch")!;
    expect(fuzz(target, profiler, { seed: 1, runs: RUNS, guided: false }).findings).toEqual([]);
  });

  it("does the same again for the same seed", () => {
    const target = TARGETS.find(({ name }) => name === "gap")!;
    const [first, second] = [1, 2].map(() => fuzz(target, profiler, { seed: 7, runs: 60 }));
    expect(second).toEqual(first);
  });
});
