import fc from "fast-check";
import { expect, it } from "vitest";
import { assignSticky } from "../src/sticky-assignment.ts";

const members = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 6 });
const slotsOf = (count: number) => Array.from({ length: count }, (_, i) => `frames/${i}`);

it("gives every slot to exactly one member, evenly, and lets each keep what its share allows", () => {
  fc.assert(
    fc.property(members, fc.nat(24), fc.array(fc.nat(7), { maxLength: 24 }), (names, count, owners) => {
      const slots = slotsOf(count);
      const claimants = names.map((member, i) => ({ member, held: slots.filter((_, slot) => owners[slot] === i) }));
      const dealt = assignSticky(slots, claimants);
      expect([...dealt.values()].flat().sort()).toEqual(slots.toSorted());
      const sizes = names.map((name) => dealt.get(name)!.length);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      for (const { member, held } of claimants) {
        const own = dealt.get(member)!;
        expect(held.filter((slot) => own.includes(slot)).length).toBe(Math.min(held.length, own.length));
      }
      expect(assignSticky(slots.toReversed(), claimants.toReversed())).toEqual(dealt);
    }),
    { seed: 1, numRuns: 300 },
  );
});

it("moves nothing when nothing changed, and only a share when a member comes", () => {
  const slots = slotsOf(12);
  const first = assignSticky(slots, [
    { member: "a", held: [] },
    { member: "b", held: [] },
  ]);
  const again = [...first].map(([member, held]) => ({ member, held }));
  expect(assignSticky(slots, again)).toEqual(first);
  const three = assignSticky(slots, [...again, { member: "c", held: [] }]);
  for (const member of ["a", "b"]) expect(first.get(member)).toEqual(expect.arrayContaining(three.get(member)!));
  expect(three.get("c")).toHaveLength(4);
});
