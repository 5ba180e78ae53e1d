/**
 * Loaded into an edge agent's process before anything else (`node --import`): at SIGUSR2 its wall clock is an hour ahead, at the next one
 * right again. The monotonic clock stays as it is, as when somebody sets the clock.
 */
const HOUR_MS = 3_600_000;
const now = Date.now;
let aheadMs = 0;

process.on("SIGUSR2", () => {
  aheadMs = aheadMs === 0 ? HOUR_MS : 0;
});

Date.now = () => now() + aheadMs;
globalThis.Date = new Proxy(Date, {
  construct: (target, args, self) => Reflect.construct(target, args.length === 0 ? [Date.now()] : args, self),
});
