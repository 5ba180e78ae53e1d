import { resolve } from "node:path";
import { loadConfig } from "@smile/runtime/config";
import { readDeployment } from "@smile/runtime/document-file";
import { LogConfig, logEnvNames, logHelp, openLog } from "@smile/runtime/log-config";
import { LogLevel } from "@smile/runtime/logging";
import { openMonitoring } from "@smile/runtime/monitoring";
import { monitoringEnvNames, monitoringHelp, monitoringShape } from "@smile/runtime/monitoring-config";
import { defaultBrokerLimits } from "@smile/runtime/mqtt-broker";
import type { ServiceCommand } from "@smile/runtime/service-command";
import { z } from "zod";
import { endpointSchema } from "./endpoint-schema.ts";
import { processorMetrics } from "./metrics.ts";
import { startStreamProcessor } from "./service.ts";

const Schema = z.strictObject({
  log: LogConfig,
  deployments: z.array(z.string().min(1)).min(1),
  frames: endpointSchema({ port: 1883, clientId: "smile-ingress", maxPacketBytes: defaultBrokerLimits.maxPacketBytes }),
  // Nothing but subscriptions and cursors comes in there.
  scores: endpointSchema({ port: 1884, clientId: "smile-egress", maxPacketBytes: 16 * 1024 }),
  lingerMs: z.number().min(0).max(60_000).default(20),
  openPerKind: z.number().int().min(1).max(64).default(4),
  ...monitoringShape,
  logLevel: LogLevel.default("info"),
});

const envNames = {
  ...logEnvNames,
  "frames.host": "SMILE_FRAMES_HOST",
  "frames.port": "SMILE_FRAMES_PORT",
  "frames.broker": "SMILE_FRAMES_BROKER",
  "scores.host": "SMILE_SCORES_HOST",
  "scores.port": "SMILE_SCORES_PORT",
  "scores.broker": "SMILE_SCORES_BROKER",
  ...monitoringEnvNames,
  logLevel: "SMILE_LOG_LEVEL",
} as const;

/** `smile stream-processor` */
export const streamProcessorCommand: ServiceCommand = {
  name: "stream-processor",
  summary: "Takes frames over MQTT into the log, merges ciphertexts into full batches, and delivers scores to the plants.",
  details: `                 ${logHelp};
                 deployments: paths of deployment documents;
                 frames {host 127.0.0.1, port 1883, maxPacketBytes, maxConnections 256} or {broker: mqtt://..., clientId};
                 scores, likewise, port 1884;
                 lingerMs 20; openPerKind 4; logLevel info;
${monitoringHelp}`,
  async start({ configFile, folder, env, logger: loggerAt, signal }) {
    const settings = loadConfig({ schema: Schema, env, envNames, file: configFile });
    const logger = loggerAt(settings.logLevel);
    // Before the log is looked for: a wrong file is told at once.
    const deployments = settings.deployments.map((path) => readDeployment(resolve(folder, path), env));
    await using opened = new AsyncDisposableStack();
    const monitoring = opened.use(await openMonitoring({ service: "stream-processor", settings, folder, logger, stopping: signal }));
    const log = opened.use(await openLog(settings.log, folder, "smile-stream-processor", logger.child({ part: "log" })));
    const { frames, scores, lingerMs, openPerKind } = settings;
    const service = opened.use(
      await startStreamProcessor({
        log,
        logger,
        deployments,
        frames,
        scores,
        limits: { lingerMs, openPerKind },
        partitions: settings.log.partitions,
      }),
    );
    const readsLog = () =>
      service.lag().then(
        () => true,
        () => false,
      );
    monitoring.watch({
      done: service.done,
      conditions: async () => ({
        "connected to the broker of frames": service.endpoints.frames.connected,
        "connected to the broker of scores": service.endpoints.scores.connected,
        "joined its group of the log": await readsLog(),
      }),
      metrics: processorMetrics(service),
    });
    const owned = opened.move();
    return { done: service.done, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  },
};
