/** The same value with one thing changed, and where. */
export type Change = { readonly path: string; readonly changed: unknown };

/** Every value that differs from this one in one number, text, byte array, item or null. */
export function changesOf(value: unknown, path = ""): Change[] {
  const change = (changed: unknown): Change => ({ path, changed });
  if (value instanceof Uint8Array) {
    const flipped = Array.from(value, (_, i) => Uint8Array.from(value).with(i, value[i]! ^ (1 << (i & 7))));
    return [...flipped, Uint8Array.of(...value, 0), ...(value.length > 0 ? [value.slice(0, -1)] : [])].map(change);
  }
  if (Array.isArray(value)) {
    const inside = value.flatMap((item, i) => changesOf(item, `${path}.${i}`).map((c) => ({ ...c, changed: value.with(i, c.changed) })));
    const outside = [value.slice(0, -1), [...value, value.at(-1)], ...(value.length > 1 ? [value.toReversed()] : [])];
    return [...inside, ...(value.length > 0 ? outside.map(change) : [])];
  }
  if (value !== null && typeof value === "object") {
    return Object.entries(value).flatMap(([key, inner]) =>
      changesOf(inner, `${path}.${key}`).map((c) => ({ ...c, changed: { ...value, [key]: c.changed } })),
    );
  }
  if (typeof value === "number") return [value + 1, value - 1].map(change);
  if (typeof value === "string") return textChanges(value).map(change);
  return value === null ? [change(path.endsWith("jobId") ? "" : 0)] : [];
}

/** An enumeration's other symbol, another hash, or another text. */
function textChanges(text: string): string[] {
  const symbols = [
    ["bgv", "identity"],
    ["public", "symmetric"],
    ["bytes", "age"],
  ];
  const others = symbols.find((set) => set.includes(text))?.filter((symbol) => symbol !== text);
  if (others !== undefined) return others;
  if (/^[0-9a-f]{64}$/.test(text)) return [`0${text.slice(1)}`, `${text.slice(1)}1`].filter((hash) => hash !== text);
  return [`${text}x`, text.slice(1), ""].filter((other) => other !== text);
}
