import { resolve } from "node:path";
import { loadConfig } from "@smile/runtime/config";
import { readDocument } from "@smile/runtime/document-file";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import { LogLevel } from "@smile/runtime/logging";
import type { ServiceCommand } from "@smile/runtime/service-command";
import { DeploymentDocument } from "@smile/schemas/documents";
import { z } from "zod";
import { startStreamProcessor } from "./service.ts";

const listen = (port: number) =>
  z.strictObject({ host: z.string().default("127.0.0.1"), port: z.number().int().min(0).max(65535).default(port) }).prefault({});

const Schema = z.strictObject({
  log: z.strictObject({ path: z.string().min(1), partitions: z.number().int().min(1).max(1024).default(4) }),
  deployments: z.array(z.string().min(1)).min(1),
  frames: listen(1883),
  scores: listen(1884),
  lingerMs: z.number().min(0).max(60_000).default(20),
  openPerKind: z.number().int().min(1).max(64).default(4),
  logLevel: LogLevel.default("info"),
});

const envNames = {
  "log.path": "SMILE_LOG_PATH",
  "frames.host": "SMILE_FRAMES_HOST",
  "frames.port": "SMILE_FRAMES_PORT",
  "scores.host": "SMILE_SCORES_HOST",
  "scores.port": "SMILE_SCORES_PORT",
  logLevel: "SMILE_LOG_LEVEL",
} as const;

/** `smile stream-processor` */
export const streamProcessorCommand: ServiceCommand = {
  name: "stream-processor",
  summary: "Takes frames over MQTT into the log, merges ciphertexts into full batches, and delivers scores to the plants.",
  details: `                 log {path, partitions 4}; deployments: paths of deployment documents;
                 frames {host 127.0.0.1, port 1883}; scores {host 127.0.0.1, port 1884};
                 lingerMs 20; openPerKind 4; logLevel info`,
  async start({ configFile, folder, env, logger: loggerAt }) {
    const settings = loadConfig({ schema: Schema, env, envNames, file: configFile });
    const logger = loggerAt(settings.logLevel);
    await using opened = new AsyncDisposableStack();
    const log = opened.use(await openEmbeddedLog({ path: resolve(folder, settings.log.path), logger: logger.child({ part: "log" }) }));
    const { frames, scores, lingerMs, openPerKind } = settings;
    const service = opened.use(
      await startStreamProcessor({
        log,
        logger,
        deployments: settings.deployments.map((path) => readDocument(DeploymentDocument, resolve(folder, path), "deployment")),
        frames,
        scores,
        limits: { lingerMs, openPerKind },
        partitions: settings.log.partitions,
      }),
    );
    const owned = opened.move();
    return { done: service.done, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  },
};
