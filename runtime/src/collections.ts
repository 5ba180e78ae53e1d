import { setFlagsFromString } from "node:v8";

/** Where the heap is bounded: half again. V8 itself lets small bounded heaps grow by so little that it marks them all the time. */
const BOUNDED_GROWTH_PERCENT = 50;

/**
 * V8 counts the bytes of buffers against the heap and marks all of it again for every few megabytes of them, while a service allocates some
 * hundred per second and keeps none: at 22,000 windows per second a sixth of all processor time. So a heap may grow by more beyond what
 * outlived the last collection, buffers counted. Whoever bounds the heap (`--max-old-space-size`) prefers less memory: it grows by half then,
 * whatever is asked for.
 * @param growthPercent of what outlived the last collection, at least 1; the last call counts. Default 200: a heap of three times what lives
 */
export function collectSeldom(growthPercent = 200): void {
  const options = [...process.execArgv, process.env.NODE_OPTIONS ?? ""];
  const bounded = options.some((option) => /--max[-_]old[-_]space[-_]size/.test(option));
  setFlagsFromString(`--heap-growing-percent=${bounded ? BOUNDED_GROWTH_PERCENT : growthPercent}`);
}

/**
 * For services whose objects die young: small young generations are collected before the buffers behind them add up. (Not for agents, whose
 * windows wait for their frame and would be copied for nothing.)
 */
export function collectYoungOften(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
}
