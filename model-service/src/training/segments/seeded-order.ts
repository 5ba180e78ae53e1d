import { hash } from "node:crypto";

/** The numbers from 0 to count - 1 in an order that looks random and that seed and purpose determine. */
export function seededOrder(count: number, seed: number, purpose: string): number[] {
  const drawn = Float64Array.from({ length: count }, (_, i) => hash("sha256", `${purpose} ${seed} ${i}`, "buffer").readUIntBE(0, 6));
  return Array.from(drawn.keys()).sort((a, b) => drawn[a]! - drawn[b]! || a - b);
}

/** At most `most` of the items, drawn without replacement; all of them, in their order, where they are few. */
export function seededSample<T>(items: readonly T[], most: number, seed: number, purpose: string): readonly T[] {
  if (items.length <= most) return items;
  return seededOrder(items.length, seed, purpose)
    .slice(0, most)
    .map((i) => items[i]!);
}
