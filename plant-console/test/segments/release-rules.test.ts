import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { groupTable, type ReleasedMembership } from "../../src/segments/group-table.ts";
import { minimumCut } from "../../src/segments/minimum-cut.ts";
import { isDifferencing, releasable } from "../../src/segments/release-rules.ts";

/** Every way of giving each of `count` things one of the factors. */
function* combinations(count: number, factors: readonly number[]): Generator<number[]> {
  for (let n = 0; n < factors.length ** count; n++) {
    yield Array.from({ length: count }, (_, i) => factors[Math.floor(n / factors.length ** i) % factors.length]!);
  }
}
const people = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `p${from + i}`);
const run = (...groups: string[][]): ReleasedMembership => ({
  groups: groups.map((group) => new Set(group)),
  everyone: new Set(groups.flat()),
});

describe("what may be told of one run", () => {
  it("is everything when every segment has enough people", () => {
    expect(releasable({ sizes: [10, 20, 30] })).toEqual({ groups: [[0], [1], [2]], withheld: [], total: 60 });
  });

  it("never has a small segment: it joins the nearest large one", () => {
    const nearness = [
      [1, 2, 3],
      [3, 0, 2],
      [0, 1, 3],
      [1, 2, 0],
    ];
    expect(releasable({ sizes: [30, 4, 20, 9], nearness })).toEqual({
      groups: [
        [0, 1],
        [2, 3],
      ],
      withheld: [],
      total: 63,
    });
  });

  it("withholds a small segment and a second one, since the total minus the others would give it away", () => {
    expect(releasable({ sizes: [30, 4, 20] })).toEqual({ groups: [[0]], withheld: [1, 2], total: 54 });
  });

  it("withholds one more when all that is withheld are too few together", () => {
    expect(releasable({ sizes: [30, 4, 20, 5] })).toEqual({ groups: [[0]], withheld: [1, 2, 3], total: 59 });
    expect(releasable({ sizes: [30, 5, 20, 5] })).toEqual({ groups: [[0], [2]], withheld: [1, 3], total: 60 });
  });

  it("does not tell of a single record, in whatever company", () => {
    expect(releasable({ sizes: [1] })).toEqual({ groups: [], withheld: [0], total: null });
    expect(releasable({ sizes: [1, 50] })).toEqual({ groups: [], withheld: [0, 1], total: 51 });
    expect(releasable({ sizes: [1, 50], nearness: [[1], [0]] })).toEqual({ groups: [[0, 1]], withheld: [], total: 51 });
    expect(releasable({ sizes: [0, 1, 50] })).toEqual({ groups: [], withheld: [0, 1, 2], total: 51 });
  });

  it("is nothing, not even how many, below the minimum", () => {
    expect(releasable({ sizes: [3, 6] })).toEqual({ groups: [], withheld: [0, 1], total: null });
    expect(releasable({ sizes: [5, 5] })).toEqual({ groups: [], withheld: [0, 1], total: 10 });
  });

  it("refuses a minimum that lets one person through", () => {
    for (const minimum of [1, 0, -1, 2.5, Number.NaN]) expect(() => releasable({ sizes: [20], minimum })).toThrow(RangeError);
    expect(() => releasable({ sizes: [20, -1] })).toThrow(RangeError);
  });

  it("isolates nobody by any sum or difference of groups and the total", () => {
    const size = fc.oneof(fc.nat(12), fc.nat(60));
    const runs = fc.array(size, { minLength: 1, maxLength: 6 }).chain((sizes) => {
      const others = (s: number) => fc.shuffledSubarray([...sizes.keys()].filter((other) => other !== s));
      return fc.record({
        sizes: fc.constant(sizes),
        nearness: fc.tuple(...sizes.map((_, s) => others(s))),
        minimum: fc.integer({ min: 2, max: 15 }),
      });
    });
    let told = 0;
    fc.assert(
      fc.property(runs, (options) => {
        const { sizes, minimum } = options;
        const { groups, withheld, total } = releasable(options);
        expect([...groups.flat(), ...withheld].sort((a, b) => a - b)).toEqual([...sizes.keys()]);
        if (sizes.every((each) => each >= minimum)) expect(withheld).toEqual([]);
        told += groups.length;
        if (total === null) return;
        const released = [...groups, [...sizes.keys()]];
        for (const factors of combinations(released.length, [-1, 0, 1])) {
          const of = (segment: number) => released.reduce((sum, group, i) => sum + (group.includes(segment) ? factors[i]! : 0), 0);
          const left = [...sizes.keys()].filter((segment) => of(segment) !== 0 && sizes[segment]! > 0);
          const count = left.reduce((sum, segment) => sum + sizes[segment]!, 0);
          if (left.length > 0) expect(count).toBeGreaterThanOrEqual(minimum);
          if (left.length === 1) expect(withheld).not.toContain(left[0]);
        }
      }),
      { seed: 5, numRuns: 400 },
    );
    expect(told).toBeGreaterThan(400);
  });
});

describe("a release after others", () => {
  const first = run(people(1, 30), people(31, 60));

  it("may be the same again, or of quite other people", () => {
    expect(isDifferencing({ earlier: [], release: first })).toBe(false);
    expect(isDifferencing({ earlier: [first], release: first })).toBe(false);
    expect(isDifferencing({ earlier: [first], release: run(people(101, 130)) })).toBe(false);
  });

  it("is refused when one person more, or one less, is in it", () => {
    expect(isDifferencing({ earlier: [first], release: run(people(1, 30), people(31, 61)) })).toBe(true);
    expect(isDifferencing({ earlier: [first], release: run(people(1, 30), people(31, 59)) })).toBe(true);
    expect(isDifferencing({ earlier: [first, run(people(101, 130))], release: run(people(1, 29), people(31, 60)) })).toBe(true);
  });

  it("is refused when one person went to another segment", () => {
    expect(isDifferencing({ earlier: [first], release: run(people(1, 29), people(30, 60)) })).toBe(true);
    expect(isDifferencing({ earlier: [first], release: run(people(1, 20), people(21, 60)) })).toBe(false); // ten went together
  });

  it("is refused when a few left while many came, so that the totals look far apart", () => {
    expect(isDifferencing({ earlier: [run(people(1, 60))], release: run(people(2, 90)) })).toBe(true);
  });

  it("is refused when only a sum of groups shows who is new", () => {
    const before = run(people(1, 20), people(21, 40));
    const after: ReleasedMembership = { groups: [new Set(people(1, 41))], everyone: new Set(people(1, 80)) };
    expect(isDifferencing({ earlier: [before], release: after })).toBe(true);
    const clean: ReleasedMembership = { groups: [new Set(people(1, 50))], everyone: new Set(people(1, 80)) };
    expect(isDifferencing({ earlier: [before], release: clean })).toBe(false);
  });

  it("is refused when what is withheld differs by one person", () => {
    const withheld = (last: number): ReleasedMembership => ({ groups: [new Set(people(1, 30))], everyone: new Set(people(1, last)) });
    expect(isDifferencing({ earlier: [withheld(50)], release: withheld(51) })).toBe(true);
    expect(isDifferencing({ earlier: [withheld(50)], release: withheld(60) })).toBe(false);
  });

  it("must be of groups that do not overlap, within the people of its run", () => {
    const overlapping: ReleasedMembership = { groups: [new Set(["a"]), new Set(["a"])], everyone: new Set(["a"]) };
    const beyond: ReleasedMembership = { groups: [new Set(["a"])], everyone: new Set(["b"]) };
    for (const release of [overlapping, beyond]) expect(() => isDifferencing({ earlier: [first], release })).toThrow(RangeError);
  });

  /** People by their place in two runs: 0 absent, 1 in no released group, 2 and 3 in a group. */
  const cells = fc.array(fc.constantFrom(0, 0, 0, 0, 0, 1, 5, 9, 9, 9), { minLength: 16, maxLength: 16 });
  const membership = (counts: readonly number[], place: (cell: number) => number): ReleasedMembership => {
    const at = (wanted: (place: number) => boolean) =>
      new Set(counts.flatMap((count, cell) => (wanted(place(cell)) ? Array.from({ length: count }, (_, i) => `${cell}/${i}`) : [])));
    return { groups: [at((p) => p === 2), at((p) => p === 3)], everyone: at((p) => p > 0) };
  };
  const twoRuns = (counts: readonly number[]) => [membership(counts, (cell) => cell >> 2), membership(counts, (cell) => cell & 3)] as const;
  /** Fewest people, above none, who are left over by any sum of the one's groups minus any of the other's. */
  const fewestLeft = (counts: readonly number[]) => {
    let fewest = Number.POSITIVE_INFINITY;
    for (const factors of combinations(6, [-1, 0, 1, 2])) {
      const [one, other] = [
        [0, ...factors.slice(0, 3)],
        [0, ...factors.slice(3)],
      ];
      const left = counts.reduce((sum, count, cell) => sum + (one[cell >> 2]! !== other[cell & 3]! ? count : 0), 0);
      if (left > 0) fewest = Math.min(fewest, left);
    }
    return fewest;
  };

  it("isolates nobody by subtracting sums of its groups from sums of an earlier one's", () => {
    const verdicts = { released: 0, refused: 0 };
    fc.assert(
      fc.property(cells, (counts) => {
        const [before, release] = twoRuns(counts);
        const fewest = fewestLeft(counts);
        expect(minimumCut(groupTable(before, release).graph())).toBe(fewest);
        const refused = isDifferencing({ earlier: [before], release, minimum: 5 });
        if (fewest < 5) expect(refused).toBe(true);
        verdicts[refused ? "refused" : "released"]++;
      }),
      { seed: 5, numRuns: 300 },
    );
    expect(Math.min(verdicts.released, verdicts.refused)).toBeGreaterThan(20);
  });
});
