import { giveWay } from "@smile/runtime/give-way";
import { openMonitoring } from "@smile/runtime/monitoring";
import { plantRegistryMetrics } from "@smile/runtime/plant-registry-metrics";
import type { ServiceCommand } from "@smile/runtime/service-command";
import { loadSegmentConsoleConfig } from "./config.ts";
import { startConfiguredSegmentConsole } from "./configured-segment-console.ts";
import { segmentConsoleMetrics } from "./segment-metrics.ts";

/** `smile segment console` */
export const segmentConsoleCommand: ServiceCommand = {
  name: "segment console",
  summary: "Receives the encrypted scores of an organisation's jobs, decrypts them, and keeps which record is in which segment.",
  details: `                 keys and their defaults: docs/operations.md, "segment console"`,
  async start({ configFile, folder, env, logger: loggerAt, signal }) {
    giveWay();
    const config = loadSegmentConsoleConfig(configFile, env);
    const logger = loggerAt(config.logLevel);
    await using opened = new AsyncDisposableStack();
    const tags = { plant: config.plant };
    const monitoring = opened.use(
      await openMonitoring({ service: "segment-console", settings: config, folder, logger, tags, stopping: signal }),
    );
    const console = opened.use(await startConfiguredSegmentConsole(config, { logger, env }));
    monitoring.watch({
      done: console.done,
      conditions: () => ({
        "connected to the broker": console.connected(),
        "has the key of the next score": console.awaitedKey() === undefined,
      }),
      metrics: [...segmentConsoleMetrics(console), ...plantRegistryMetrics(console.registry)],
    });
    const owned = opened.move();
    return { done: console.done, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  },
};
