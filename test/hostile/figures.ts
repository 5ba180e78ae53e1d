/** Figures of a service by name and labels, as its /metrics gives them. */
export type Figures = ReadonlyMap<string, number>;

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{.*\})?) (\S+)$/;

/** Reads the text format of Prometheus. */
export function parseFigures(text: string): Figures {
  const figures = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [, name, value] = LINE.exec(line) ?? [];
    if (name !== undefined) figures.set(name, Number(value));
  }
  return figures;
}

/** What counters of one name have grown by, by the value of a label; those that have not grown are left out. */
export function growthBy(label: string, name: string, before: Figures, after: Figures): Record<string, number> {
  const growth: Record<string, number> = {};
  for (const [series, value] of after) {
    if (!series.startsWith(`${name}{`)) continue;
    const by = new RegExp(`${label}="([^"]*)"`).exec(series)?.[1];
    const grown = value - (before.get(series) ?? 0);
    if (by !== undefined && grown > 0) growth[by] = (growth[by] ?? 0) + grown;
  }
  return growth;
}

export function growthOf(name: string, before: Figures, after: Figures): number {
  return (after.get(name) ?? 0) - (before.get(name) ?? 0);
}

export function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
