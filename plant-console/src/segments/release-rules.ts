import { groupTable, type ReleasedMembership } from "./group-table.ts";
import { minimumCut } from "./minimum-cut.ts";

/** Fewest people of whom anything is told at once. */
export const MINIMUM_PEOPLE = 10;

/** What may be told of one run. */
export type Releasable = {
  /** Each a list of segments that are told of as one, ascending. */
  readonly groups: readonly (readonly number[])[];
  /** Segments of which nothing is told, ascending. */
  readonly withheld: readonly number[];
  /** Number of people in the run; null when even that is withheld. */
  readonly total: number | null;
};

/**
 * What may be told of segments of these sizes, so that no sum or difference of what is told is about fewer than `minimum` people.
 * A segment below the minimum joins the nearest one that reaches it, or is withheld. All those withheld are, as total minus the others, a
 * group of their own: while it has fewer people than the minimum, as one small segment alone has, the smallest group is withheld too
 * (complementary suppression: Hundepool et al., Statistical Disclosure Control, 2012).
 * @param options.sizes [K] people per segment
 * @param options.minimum at least 2; default `MINIMUM_PEOPLE`
 * @param options.nearness [K] for each segment the others, nearest first; without it nothing is merged
 * @throws {RangeError} for a minimum below 2, or a size that is no whole number from 0
 */
export function releasable(options: { sizes: readonly number[]; minimum?: number; nearness?: readonly (readonly number[])[] }): Releasable {
  const { sizes, minimum = MINIMUM_PEOPLE, nearness = [] } = options;
  checkMinimum(minimum);
  if (!sizes.every((size) => Number.isInteger(size) && size >= 0)) throw new RangeError("sizes must be whole numbers from 0");
  const segments = sizes.map((_, segment) => segment);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total < minimum) return { groups: [], withheld: segments, total: null };

  const groups = new Map<number, number[]>(segments.filter((s) => sizes[s]! >= minimum).map((s) => [s, [s]]));
  const large = new Set(groups.keys());
  const withheld: number[] = [];
  for (const segment of segments) {
    if (large.has(segment)) continue;
    const nearest = nearness[segment]?.find((other) => large.has(other));
    if (nearest === undefined) withheld.push(segment);
    else groups.get(nearest)!.push(segment);
  }
  const peopleIn = (group: readonly number[]) => group.reduce((sum, segment) => sum + sizes[segment]!, 0);
  const bySize = [...groups.values()].sort((a, b) => peopleIn(a) - peopleIn(b));
  const tellsTooMuch = (people: number) => people > 0 && people < minimum;
  while (bySize.length > 0 && tellsTooMuch(peopleIn(withheld))) withheld.push(...bySize.shift()!);
  const told = bySize.map((group) => group.sort((a, b) => a - b)).sort((a, b) => a[0]! - b[0]!);
  return { groups: told, withheld: withheld.sort((a, b) => a - b), total };
}

/**
 * Whether a release, with any earlier one, would tell of fewer than `minimum` people (and not of none): it must not be made then.
 * Two questions are asked of each earlier release:
 * - Do a group, or the whole, of the one and a group, or the whole, of the other leave fewer than the minimum outside each other, on
 *   either side, while they share somebody?
 * - Does any sum of groups of the one minus any sum of groups of the other, with whatever factors, leave fewer than the minimum? Each
 *   person joins two nodes of a graph, their group in the one release and in the other ("in none" is one node for both). Groups with
 *   factors are numbers at the nodes, and the persons left over are the edges whose ends differ: at least those of a cut between high
 *   numbers and low ones. So the fewest who can be left over are the smallest cut of a connected part of this graph.
 *
 * Only two releases at a time are looked at: three or more together may tell more.
 * @throws {RangeError} for a minimum below 2, or groups that overlap or reach beyond `everyone`
 */
export function isDifferencing(options: { earlier: Iterable<ReleasedMembership>; release: ReleasedMembership; minimum?: number }): boolean {
  const { earlier, release, minimum = MINIMUM_PEOPLE } = options;
  checkMinimum(minimum);
  for (const before of earlier) {
    const table = groupTable(before, release);
    if (table.remainders().some((people) => people > 0 && people < minimum) || minimumCut(table.graph()) < minimum) return true;
  }
  return false;
}

function checkMinimum(minimum: number): void {
  if (!Number.isInteger(minimum) || minimum < 2) throw new RangeError(`minimum is ${minimum}; it must be a whole number from 2`);
}
