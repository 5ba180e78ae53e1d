import type { ModelCard } from "@smile/schemas/documents";

/** What turns an integer score into a risk: the public part of a head's card. */
export type RiskScale = Pick<ModelCard, "scale" | "calibration" | "link" | "range">;

/** When an alert is raised and cleared. For "above" `clear` <= `raise`, for "below" `clear` >= `raise`; between them nothing changes. */
export type AlertRule = ModelCard["alert"];

/**
 * The risk that a decrypted score stands for: score * scale, then slope * real + intercept, then the link, then limited to the range.
 * @param score integer, as decrypted
 * @returns in the card's unit: a probability in (0, 1) for the logistic link, cycles for the identity link of a remaining life
 */
export function riskOf(score: number, { scale, calibration, link, range }: RiskScale): number {
  const real = score * scale;
  const calibrated = calibration === null ? real : calibration.slope * real + calibration.intercept;
  const linked = link === "logistic" ? 1 / (1 + Math.exp(-calibrated)) : calibrated;
  return range === null ? linked : Math.min(range[1], Math.max(range[0], linked));
}

/**
 * Whether every score has a risk that is a finite number. One that is none cannot be stored: the console would stop at it, and so tell the
 * service, whose card this is, which scores it decrypted.
 * @param largest largest |score| that may be decrypted
 */
export function isFiniteUpTo(largest: number, { scale, calibration }: RiskScale): boolean {
  const { slope, intercept } = calibration ?? { slope: 1, intercept: 0 };
  const real = largest * scale;
  return Number.isFinite(real) && Number.isFinite(Math.abs(slope) * real + Math.abs(intercept));
}

/** What is remembered of one machine under one output of one head. */
export type AlertState = { readonly raised: boolean; readonly newestMs: number };
export type Decision = {
  readonly state: AlertState;
  readonly event: "raised" | "cleared" | null;
  /** The window is older than one that was decided before: it changed nothing. */
  readonly late: boolean;
};

/**
 * The alert state machine with hysteresis: one event per crossing, however noisy the risk is between `clear` and `raise`.
 * @param state undefined before the first window
 * @param frameTimeMs end of the window, event time; a window older than the newest one is left out of the decision
 */
export function decide(state: AlertState | undefined, risk: number, frameTimeMs: number, rule: AlertRule): Decision {
  const before = state ?? { raised: false, newestMs: Number.NEGATIVE_INFINITY };
  if (frameTimeMs < before.newestMs) return { state: before, event: null, late: true };
  const above = rule.direction === "above";
  const raises = above ? risk >= rule.raise : risk <= rule.raise;
  const clears = !raises && (above ? risk <= rule.clear : risk >= rule.clear);
  const raised = before.raised ? !clears : raises;
  const event = raised === before.raised ? null : raised ? "raised" : "cleared";
  return { state: { raised, newestMs: frameTimeMs }, event, late: false };
}

/** Whether a rule has its bounds the right way round; the other way round an alert would be raised and cleared by the same risk. */
export function isConsistent({ direction, raise, clear }: AlertRule): boolean {
  return direction === "above" ? clear <= raise : clear >= raise;
}
