/**
 * How well two ways of grouping the same records agree, whatever the groups are called: 1 when they are the same, about 0 when they
 * agree by chance, below 0 for less (Hubert and Arabie, "Comparing partitions", 1985).
 * @param a,b [records] a group per record
 * @returns 1 for no record, and where both put everything in one group, or everything in groups of its own
 * @throws {RangeError} when the lengths differ
 */
export function adjustedRandIndex(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new RangeError(`${a.length} groups for ${b.length}`);
  const [both, inA, inB] = [new Map<string, number>(), new Map<number, number>(), new Map<number, number>()];
  for (let i = 0; i < a.length; i++) {
    count(both, `${a[i]} ${b[i]}`);
    count(inA, a[i]!);
    count(inB, b[i]!);
  }
  const [together, pairsA, pairsB] = [pairs(both), pairs(inA), pairs(inB)];
  const expected = a.length < 2 ? 0 : (pairsA * pairsB) / ((a.length * (a.length - 1)) / 2);
  const most = (pairsA + pairsB) / 2;
  return most === expected ? 1 : (together - expected) / (most - expected);
}

function count<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** Pairs of records that share a group. */
function pairs(counts: ReadonlyMap<unknown, number>): number {
  let sum = 0;
  for (const n of counts.values()) sum += (n * (n - 1)) / 2;
  return sum;
}
