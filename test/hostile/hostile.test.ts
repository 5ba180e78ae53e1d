import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { keptCases } from "./kept.ts";
import { planCases } from "./plan.ts";
import { hasPassed, runHostile } from "./run.ts";

const mutant = (name: string) => fileURLToPath(new URL(`./mutants/${name}.ts`, import.meta.url));
const run = (cases: number, options: Partial<Parameters<typeof runHostile>[0]> = {}) =>
  runHostile({ seed: 2, cases, say: () => {}, ...options });

describe.concurrent("hostile input at real services", { timeout: 120_000 }, () => {
  it("is refused, brings nothing down and costs no neighbour a window; so is all that was ever found", async () => {
    const report = await run(300);
    expect(report).toMatchObject({ accepted: 0, crashes: 0, neighboursLost: 0 });
    expect(hasPassed(report)).toBe(true);
    expect(report.cases).toBe(300 + keptCases().length);
    expect(report.goodWindows).toBeGreaterThan(100);
    expect(report.kinds["frame forged signature"]).toEqual({ cases: 8, refused: { SIGNATURE_INVALID: 8 } });
    expect(report.kinds["score relabelled, signed"]!.refused).toEqual({ SIGNATURE_INVALID: 2 });
  });

  it("is found out where services believe what nobody has signed, and score what nobody has sent", async () => {
    const said: string[] = [];
    const mutants = { streamProcessor: mutant("no-signatures"), modelService: mutant("no-hash"), console: mutant("no-part-signatures") };
    const only = /^(frame forged signature|batch hash|score signed by a gateway|score of a revoked gateway key)$/;
    const report = await run(200, { only, patienceMs: 1000, mutants, say: (text) => void said.push(text) });
    expect(report.accepted).toBeGreaterThan(0);
    expect(hasPassed(report)).toBe(false);
    for (const sort of ["appended", "scored", "shown"]) expect(said.join("\n")).toContain(`ACCEPTED: ${sort}: `);
  });

  it("is found out where a service falls over", async () => {
    const report = await run(4, { only: /^frame residue$/, mutants: { streamProcessor: mutant("ends-of-residues") } });
    expect(report.crashes).toBeGreaterThan(0);
    expect(report.neighboursLost).toBeGreaterThan(0);
    expect(hasPassed(report)).toBe(false);
  });
});

describe("the plan of a run", () => {
  const kinds = { frames: ["a", "b"], batches: ["c"], deliveries: ["d", "e", "f"], mqtt: ["g"], slow: ["h"], registers: ["i"] };

  it.each([0, 1, 300, 10_000])("has as many cases as were asked for: %i", (cases) => {
    expect(
      planCases(cases, kinds)
        .values()
        .reduce((sum, count) => sum + count, 0),
    ).toBe(cases);
  });

  it("gives what is slow no more than runs beside each other", () => {
    expect(planCases(1_000_000, kinds).get("h")).toBe(40);
  });
});
