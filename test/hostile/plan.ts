/** How many cases each group gets, of a thousand; within a group every kind gets as many as the others. */
const SHARES = { frames: 639, batches: 130, deliveries: 150, mqtt: 75, slow: 3, registers: 3 } as const;
export type Group = keyof typeof SHARES;
/** Slow cases take up to half a minute each, however many run beside each other, and a service looks for a register every second. */
const MOST: Partial<Record<Group, number>> = { slow: 40, registers: 30 };

/**
 * Cases by kind, each group's share divided among its kinds; the remainder goes to the first ones.
 * @param kinds names of the kinds of each group
 * @returns as many as `cases` in all
 */
export function planCases(cases: number, kinds: Readonly<Record<Group, readonly string[]>>): ReadonlyMap<string, number> {
  const plan = new Map<string, number>();
  const divide = (count: number, names: readonly string[]) => {
    for (const [i, name] of names.entries()) plan.set(name, Math.floor(count / names.length) + (i < count % names.length ? 1 : 0));
  };
  const groups = (Object.keys(SHARES) as Group[]).filter((group) => group !== "frames" && kinds[group].length > 0);
  let left = cases;
  for (const group of groups) {
    const count = Math.min(left, MOST[group] ?? cases, Math.floor((cases * SHARES[group]) / 1000));
    divide(count, kinds[group]);
    left -= count;
  }
  divide(left, kinds.frames);
  return plan;
}
