import { uniformInt } from "pure-rand/distribution/uniformInt";
import type { RandomGenerator } from "pure-rand/types/RandomGenerator";

/** A whole number in [least, most]; moves the generator on. */
export function between(random: RandomGenerator, least: number, most: number): number {
  return uniformInt(random, least, most);
}

/** The same elements in another order (Fisher and Yates). */
export function shuffled<T>(random: RandomGenerator, elements: readonly T[]): T[] {
  const all = [...elements];
  for (let last = all.length - 1; last > 0; last--) {
    const other = uniformInt(random, 0, last);
    [all[last], all[other]] = [all[other]!, all[last]!];
  }
  return all;
}
