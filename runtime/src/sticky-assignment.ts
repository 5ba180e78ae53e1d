/** A member of a group, and the slots that it works on now. */
export type Claimant = { readonly member: string; readonly held: readonly string[] };

/**
 * Deals slots out to members so that numbers differ by one at most and as few slots as possible move: whatever moves is done again from
 * its last commit, and a batch under way is work lost. Pure, and the same for every order of its inputs.
 * @param slots all there are, each once
 * @param claimants at least one; of two that hold the same slot, the one that sorts first keeps it
 * @returns slots by member, sorted; every member has an entry
 */
export function assignSticky(slots: readonly string[], claimants: readonly Claimant[]): Map<string, string[]> {
  const free = new Set(slots.toSorted());
  const kept = claimants
    .toSorted((a, b) => (a.member < b.member ? -1 : 1))
    .map(({ member, held }) => ({ member, slots: held.toSorted().filter((slot) => free.delete(slot)) }));
  // Those that hold most get the larger shares, so that nothing moves only to even out a rest.
  kept.sort((a, b) => b.slots.length - a.slots.length);
  const share = Math.floor(slots.length / kept.length);
  const rest = slots.length % kept.length;
  const quotas = kept.map((_, i) => share + (i < rest ? 1 : 0));
  kept.forEach(({ slots: own }, i) => {
    for (const slot of own.splice(quotas[i]!)) free.add(slot);
  });
  const spare = [...free].sort();
  kept.forEach(({ slots: own }, i) => {
    own.push(...spare.splice(0, quotas[i]! - own.length));
    own.sort();
  });
  return new Map(kept.map(({ member, slots: own }) => [member, own]));
}
