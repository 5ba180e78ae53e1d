/** One reading of one machine. `timeMs` is event time since 1970; the same shape as the Row of @smile/features/spec. */
export type Row = { readonly machine: string; readonly timeMs: number; readonly values: Readonly<Record<string, number>> };
