import { documentId } from "@smile/schemas/documents";
import { publicHalf, signBytes } from "@smile/schemas/ed25519";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Release } from "../../src/segments/release.ts";
import { groupsCsv, recordsCsv } from "../../src/segments/report-csv.ts";
import { reportHtml } from "../../src/segments/report-html.ts";
import { deleteJob } from "../../src/segments/retention.ts";
import { showRelease } from "../../src/segments/show-release.ts";
import { type Groups, keys, type Organisation, organisation, people } from "./fixture-organisation.ts";

/** Attempts to learn about few people, or to be shown what nobody released. Each of them has to fail, and to leave a trace. */

const whole: Groups = [people(1, 30), people(31, 20), people(51, 15)];
const code = (attempt: () => unknown) => {
  try {
    attempt();
    return "shown";
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe("differencing", () => {
  it("two runs that differ by one person, in whatever way, shows the first of them only", async () => {
    const others: Groups[] = [
      [people(1, 29), people(31, 20), people(51, 15)], // one left
      [
        people(1, 31)
          .filter((p) => p !== 31)
          .concat(99),
        people(31, 20),
        people(51, 15),
      ], // one came
      [people(1, 29), [...people(31, 20), 30], people(51, 15)], // one changed groups
      [[...people(1, 29), 98], people(31, 20), people(51, 15)], // one for another
    ];
    for (const other of others) {
      using own = organisation();
      await own.run("first", whole);
      await own.run("second", other);
      expect(own.show("first").facts.people).toBe(65);
      expect(code(() => own.show("second"))).toBe("RELEASE_DIFFERENCING");
      expect(own.actions()).toEqual(["release-granted", "report-shown", "release-refused"]);
    }
  });

  it("is looked for against every earlier release, also of jobs that were deleted since", async () => {
    using own = organisation();
    await own.run("a", whole);
    await own.run("b", [people(101, 30), people(131, 20), people(151, 15)]);
    await own.run("c", [people(1, 29), people(31, 20), people(51, 15)]);
    own.show("a");
    own.show("b");
    const { jobs, audit, people: folder } = own.showing;
    deleteJob({ jobs, audit, people: folder }, { jobId: "a", by: "somebody", nowMs: own.showing.nowMs });
    expect(code(() => own.show("c"))).toBe("RELEASE_DIFFERENCING");
  });

  it("a sequence of runs that each drop a few leaves nobody between any two of those shown", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 25 }), { minLength: 1, maxLength: 4 }), async (leaving) => {
        using own = organisation({ names: ["one", "two"] });
        const shown: { groups: Set<bigint>[]; all: Set<bigint> }[] = [];
        let from = 1;
        for (const [i, left] of [0, ...leaving].entries()) {
          from += left;
          await own.run(`run-${i}`, [people(from, 60 - from), people(100, 40)]);
          if (60 - from < 10) break;
          const found = code(() => shown.push(membersOf(own.show(`run-${i}`))));
          expect(["shown", "RELEASE_DIFFERENCING"]).toContain(found);
        }
        for (const [i, a] of shown.entries()) {
          for (const b of shown.slice(0, i)) {
            for (const [one, other] of [[a.all, b.all] as const, ...a.groups.map((group, g) => [group, b.groups[g]!] as const)]) {
              for (const left of [one.difference(other).size, other.difference(one).size]) expect(left === 0 || left >= 10).toBe(true);
            }
          }
        }
      }),
      { seed: 5, numRuns: 12 },
    );
  });
});

describe("few people", () => {
  it("a segment of three is neither named with its size nor told by what the others leave", async () => {
    using own = organisation();
    await own.run("survey", [people(1, 30), people(31, 3), people(51, 20)]);
    const { facts, members } = own.show("survey", "records");
    expect(facts.groups.map(({ people: size }) => size)).toEqual([30]);
    expect(facts.withheld).toEqual(["two", "three"]);
    const everything = reportHtml(facts) + groupsCsv(facts) + [...recordsCsv(facts, members)].join("");
    expect(everything).not.toMatch(/\b(3|20) people|<td class="number">(3|20)<|,(3|20),/);
    expect([...recordsCsv(facts, members)]).toHaveLength(31);
  });

  it("a job of one record, or of fewer than the minimum, cannot even be asked for", async () => {
    using own = organisation();
    await own.run("one", [[1], [], []]);
    await own.run("nine", [people(1, 9), [], []]);
    await own.run("split", [people(1, 6), people(11, 6), []]);
    for (const job of ["one", "nine", "split"]) expect(code(() => own.ask(job))).toBe("RECORDS_TOO_FEW");
  });

  it("no report of any run tells a number between 1 and the minimum of people, and no difference of its numbers does", async () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 0, max: 14 }), fc.integer({ min: 0, max: 40 })), { minLength: 2, maxLength: 5 });
    let shown = 0;
    await fc.assert(
      fc.asyncProperty(sizes, fc.boolean(), async (counts, profiles) => {
        using own = organisation({ names: counts.map((_, k) => `s${k}`), profiles });
        const before = (k: number) => counts.slice(0, k).reduce((sum, count) => sum + count, 0);
        const groups = counts.map((count, k) => people(1 + before(k), count));
        await own.run("survey", groups);
        if (code(() => own.ask("survey")) !== "shown") return;
        const { facts } = own.show("survey");
        shown++;
        const told = facts.groups.map(({ people: size }) => size);
        const rest = facts.people - told.reduce((sum, size) => sum + size, 0);
        for (const size of [...told, facts.people]) expect(size).toBeGreaterThanOrEqual(10);
        expect(rest === 0 || rest >= 10).toBe(true);
      }),
      { seed: 5, numRuns: 60 },
    );
    expect(shown).toBeGreaterThan(20);
  });
});

describe("what nobody released", () => {
  const forge = (release: Omit<Release, "signature">, key: typeof keys.analyst): Release => {
    const signature = signBytes(Buffer.from(`smile.segment-release.v1\n${documentId(release)}`), key);
    return { ...release, signature: Buffer.from(signature).toString("base64") };
  };
  const refused = (own: Organisation, release: Release) => expect(code(() => showRelease(own.showing, release))).toBe("SIGNATURE_INVALID");

  it("is not shown by a release of other results, or of the same job before it changed", async () => {
    using own = organisation();
    await own.run("spring", whole);
    await own.run("autumn", [people(1, 20), people(21, 30), people(51, 15)]);
    const spring = own.release(own.ask("spring"));
    const { signature: _, ...rest } = spring;
    refused(own, { ...spring, request: { ...spring.request, jobId: "autumn" } });
    refused(own, { ...rest, request: own.ask("autumn"), signature: spring.signature });
    // The same request in another store, where that job came to other results.
    using other = organisation();
    await other.run("spring", [people(1, 20), people(21, 30), people(51, 15)]);
    refused(other, spring);
  });

  it("is not shown when the analyst releases it herself, or a second key is forged", async () => {
    using own = organisation();
    await own.run("spring", whole);
    const request = own.ask("spring");
    expect(code(() => own.release(request, keys.analyst))).toBe("SIGNATURE_INVALID");
    const released = { kind: "segment-release", version: 1, request, releasedAtMs: 1 } as const;
    refused(own, forge({ ...released, releaser: publicHalf(keys.analyst) }, keys.analyst));
    refused(own, forge({ ...released, releaser: publicHalf(keys.council) }, keys.analyst));
    refused(own, forge({ ...released, releaser: publicHalf(keys.stranger) }, keys.stranger));
    // Even one who is pinned as both may not be both.
    const both = { ...own.showing, releasers: [...own.showing.releasers, ...own.showing.analysts] };
    const self = forge({ ...released, releaser: publicHalf(keys.analyst) }, keys.analyst);
    expect(code(() => showRelease(both, self))).toBe("SIGNATURE_INVALID");
    expect(own.jobs.releases.all()).toEqual([]);
  });

  it("is not shown with more than was released: neither each person's group, nor smaller groups, nor withheld ones", async () => {
    using own = organisation({ profiles: true });
    await own.run("spring", [people(1, 30), people(31, 12), people(51, 15)]);
    const released = own.release(own.ask("spring"));
    refused(own, { ...released, request: { ...released.request, scope: "records" } });
    // Released at a minimum of 20, asked for at 10.
    const careful = { ...own.showing, minimum: 20 };
    refused({ ...own, showing: careful }, released);
  });
});

describe("an operator", () => {
  const attempts: Record<string, Parameters<Organisation["run"]>[2]> = {
    "who drops a frame's scores": (scores) => scores.slice(1),
    "who answers only a part of a frame": (scores) =>
      scores.map((score, i) => (i === 0 ? { ...score, records: score.records.slice(2) } : score)),
    "who answers records twice, each time otherwise": (scores) => [
      ...scores,
      { ...scores[0]!, records: scores[0]!.records.map(({ index, segment }) => ({ index, segment: (segment + 1) % 3 })) },
    ],
    "who answers one frame under two numbers": (scores) => [...scores.slice(0, 1), ...scores.slice(2), { ...scores[0]! }],
  };
  it.each(Object.entries(attempts))("%s gets no report shown", async (_, change) => {
    using own = organisation();
    await own.run("survey", whole, change);
    const found = code(() => own.show("survey"));
    expect(found).toBe("JOB_INCOMPLETE");
    expect(own.jobs.releases.all()).toEqual([]);
  });

  it("who only repeats answers as they were changes nothing", async () => {
    using own = organisation();
    await own.run("survey", whole, (scores) => [...scores, ...scores.toReversed()]);
    expect(own.show("survey").facts).toMatchObject({ people: 65, integrity: { duplicated: 65, contradictions: 0 } });
  });
});

function membersOf({ members }: ReturnType<Organisation["show"]>) {
  const [rest, ...groups] = members;
  return { groups: groups.map((group) => new Set(group)), all: new Set([rest!, ...groups].flatMap((each) => Array.from(each))) };
}
