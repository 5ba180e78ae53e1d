import { setImmediate as nextTurn } from "node:timers/promises";
import type { FourierLift } from "@smile/features/spec";
import { type CvTrial, chooseSetting } from "./choose-setting.ts";
import type { OnProgress } from "./training-run.ts";

/** What the search may vary; `width` 0 means no Fourier lift, and then nothing but the penalty varies. */
export type FourierGrid = { readonly width: number; readonly bandwidths: readonly number[]; readonly seeds: readonly number[] };

/**
 * Every bandwidth with the first seed, then the other seeds with the bandwidth chosen among those: random directions differ in how
 * well they fit, and cross-validation sees it, but a full grid would cost seeds times bandwidths.
 * @param validate cross-validates one Fourier lift over all penalties; at least one entry
 */
export async function searchSettings<T extends CvTrial>(
  { width, bandwidths, seeds }: FourierGrid,
  onProgress: OnProgress | undefined,
  validate: (fourier: FourierLift | null) => Promise<T[]>,
): Promise<{ tried: T[]; chosen: T }> {
  const [firstSeed, ...otherSeeds] = seeds;
  if (width > 0 && (firstSeed === undefined || bandwidths.length === 0)) throw new RangeError("the grid has no bandwidth or no seed");
  const steps = width > 0 ? bandwidths.length + otherSeeds.length : 1;
  const tried: T[] = [];
  let done = 0;
  const step = async (fourier: FourierLift | null) => {
    const what = fourier ? `, bandwidth ${fourier.bandwidth}, seed ${fourier.seed}` : "";
    onProgress?.(`cross-validation${what}`, (0.5 + done++) / (steps + 1));
    await nextTurn();
    tried.push(...(await validate(fourier)));
  };
  if (firstSeed === undefined || width === 0) await step(null);
  else {
    for (const bandwidth of bandwidths) await step({ seed: firstSeed, width, bandwidth });
    const bandwidth = chooseSetting(tried).bandwidth!;
    for (const seed of otherSeeds) await step({ seed, width, bandwidth });
  }
  return { tried, chosen: chooseSetting(tried) };
}
