/**
 * The plant's console of the measured topology, from its own files, and beside it a histogram of how long windows took from being closed
 * at the gateway to being stored here. `node console-process.ts CONFIG`; the parent asks by IPC for the figures since it asked last.
 */
import { createHistogram } from "node:perf_hooks";
import { loadConsoleConfig } from "@smile/plant-console/config";
import { startConfiguredConsole } from "@smile/plant-console/configured-console";
import { collectSeldom, collectYoungOften } from "@smile/runtime/collections";
import { createLogger } from "@smile/runtime/logging";

collectSeldom();
collectYoungOften();
const logger = createLogger({ service: "plant-console", level: "info" });
const latency = createHistogram({ lowest: 1, highest: 3_600_000, figures: 3 });
const console = await startConfiguredConsole(loadConsoleConfig(process.argv[2]!, process.env), {
  logger,
  env: process.env,
  onRisk: ({ storedAtMs, closedAtMs }) => latency.record(Math.max(1, storedAtMs - closedAtMs)),
});
console.done.catch((error: unknown) => {
  logger.error({ err: error }, "the console ended");
  process.exit(1);
});

process.on("message", () => {
  const at = (percentile: number) => latency.percentile(percentile);
  const { refused, duplicates, contradictions } = console.counters();
  const figures = { risks: latency.count, p50Ms: at(50), p99Ms: at(99), p999Ms: at(99.9), maxMs: latency.max };
  process.send?.({ ...figures, refused, duplicates, contradictions });
  latency.reset();
});
const stop = () => void console[Symbol.asyncDispose]().then(() => process.exit(0));
process.on("SIGTERM", stop);
process.on("disconnect", stop);
