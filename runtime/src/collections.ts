import { setFlagsFromString } from "node:v8";

/**
 * V8 counts the bytes of buffers against the heap and marks all of it again for every few megabytes of them, while a service allocates some
 * hundred per second and keeps none: at 22,000 windows per second a sixth of all processor time. So a heap may grow to three times what outlived
 * the last collection, buffers counted. Whoever bounds the heap (`--max-old-space-size`) prefers memory, and V8's own pace stays.
 */
export function collectSeldom(): void {
  const options = [...process.execArgv, process.env.NODE_OPTIONS ?? ""];
  if (options.some((option) => /--max[-_]old[-_]space[-_]size/.test(option))) return;
  setFlagsFromString("--heap-growing-percent=200");
}

/**
 * For services whose objects die young: small young generations are collected before the buffers behind them add up. (Not for agents, whose
 * windows wait for their frame and would be copied for nothing.)
 */
export function collectYoungOften(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
}
