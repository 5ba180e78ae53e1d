const missingMarks = new Set(["", "na", "n/a", "nan", "null", "-", "?"]);
const decimal = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** True for a value that is absent or one of the marks that exports write for "nothing". `text` is trimmed. */
export function isMissing(text: string): boolean {
  return text.length <= 4 && missingMarks.has(text.toLowerCase());
}

/** A decimal number with a point, or NaN. Unlike `Number`, it takes neither "0x10" nor "" nor "Infinity". `text` is trimmed. */
export function parseDecimal(text: string): number {
  if (!decimal.test(text)) return Number.NaN;
  const value = Number(text);
  return Number.isFinite(value) ? value : Number.NaN;
}
