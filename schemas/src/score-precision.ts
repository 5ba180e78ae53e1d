import type { ModelCard } from "./documents.ts";

/**
 * How far a risk lies at most from that of another score less than `step` away, in the card's unit. A logistic curve is nowhere steeper
 * than 1/4, and limiting to a range brings risks no further apart.
 */
export function riskChange(step: number, { scale, calibration, link }: Pick<ModelCard, "scale" | "calibration" | "link">): number {
  return step * scale * Math.abs(calibration?.slope ?? 1) * (link === "logistic" ? 0.25 : 1);
}

/** The largest power of two, at most `most` and at least 1, that changes no risk by more than the card's precision; 1 where it has none. */
export function largestStep(card: Pick<ModelCard, "scale" | "calibration" | "link" | "precision">, most: number): number {
  if (card.precision === undefined) return 1;
  const asked = Math.min(most, card.precision / riskChange(1, card));
  return asked > 1 ? 2 ** Math.floor(Math.log2(asked)) : 1;
}
