/** Bars to draw: one value per category and series. */
export type Chart = {
  readonly title: string;
  readonly unit: string;
  readonly categories: readonly string[];
  readonly series: readonly { readonly name: string; readonly values: readonly number[] }[];
  /** Whether the series add up to one bar. */
  readonly stacked: boolean;
};
