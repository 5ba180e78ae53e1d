/*
 * Means, deviations and shares are published. At full precision the means of two samples that differ by one person give that
 * person's values away, so they are rounded to steps that are far coarser than one record's part in them (at most a few
 * deviations over the number of records), and far finer than what distances between records notice.
 */

/** Two significant digits. */
export function coarseDeviation(deviation: number): number {
  return Number(deviation.toPrecision(2));
}

/** To the largest power of ten that is at most a tenth of the deviation, or five or two times it. */
export function coarseMean(mean: number, deviation: number): number {
  const power = Math.floor(Math.log10(deviation / 10));
  const unit = 10 ** power;
  const step = [5, 2, 1].find((factor) => factor * unit <= deviation / 10) ?? 1;
  // In whole steps of the power first, so that 0.1 stays 0.1.
  const units = Math.round(mean / (step * unit)) * step;
  return power < 0 ? Number((units / 10 ** -power).toFixed(-power)) : units * unit;
}

/** Whole per cent, at least one and at most 99. */
export function coarseShare(share: number): number {
  return Math.min(99, Math.max(1, Math.round(share * 100))) / 100;
}
