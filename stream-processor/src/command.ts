import { resolve } from "node:path";
import { openAuditLog } from "@smile/runtime/audit-log";
import { collectYoungOften } from "@smile/runtime/collections";
import { loadConfig } from "@smile/runtime/config";
import { readAnyDeployment } from "@smile/runtime/document-file";
import { LogConfig, logEnvNames, logHelp, openLog } from "@smile/runtime/log-config";
import { LogLevel } from "@smile/runtime/logging";
import { openMonitoring } from "@smile/runtime/monitoring";
import { monitoringEnvNames, monitoringHelp, monitoringShape } from "@smile/runtime/monitoring-config";
import { defaultBrokerLimits } from "@smile/runtime/mqtt-broker";
import { openPlantRegistry } from "@smile/runtime/plant-registry";
import { plantRegistryMetrics } from "@smile/runtime/plant-registry-metrics";
import { PlantsConfig, plantsHelp } from "@smile/runtime/plants-config";
import type { ServiceCommand } from "@smile/runtime/service-command";
import { WORK_KINDS } from "@smile/schemas/topics";
import { z } from "zod";
import { endpointSchema, openEndpoint } from "./endpoint-schema.ts";
import { processorMetrics } from "./metrics.ts";
import { quotaSchema } from "./quota-schema.ts";
import { defaultJobBacklog, startStreamProcessor } from "./service.ts";

const Schema = z.strictObject({
  log: LogConfig,
  deployments: z.array(z.string().min(1)).min(1),
  plants: PlantsConfig,
  frames: endpointSchema({ port: 1883, clientId: "smile-ingress", maxPacketBytes: defaultBrokerLimits.maxPacketBytes }),
  // Nothing but subscriptions and cursors comes in there.
  scores: endpointSchema({ port: 1884, clientId: "smile-egress", maxPacketBytes: 16 * 1024 }),
  lingerMs: z.number().min(0).max(60_000).default(20),
  openPerKind: z.number().int().min(1).max(64).default(4),
  quota: quotaSchema,
  jobBacklog: z.number().int().min(1).max(100_000).default(defaultJobBacklog),
  audit: z.string().min(1).optional(),
  ...monitoringShape,
  logLevel: LogLevel.default("info"),
});

const envNames = {
  ...logEnvNames,
  "frames.host": "SMILE_FRAMES_HOST",
  "frames.port": "SMILE_FRAMES_PORT",
  "frames.broker": "SMILE_FRAMES_BROKER",
  "frames.tls.certificate": "SMILE_FRAMES_TLS_CERTIFICATE",
  "frames.tls.key": "SMILE_FRAMES_TLS_KEY",
  "frames.tls.authority": "SMILE_FRAMES_TLS_AUTHORITY",
  "frames.withoutTls": "SMILE_FRAMES_WITHOUT_TLS",
  "scores.host": "SMILE_SCORES_HOST",
  "scores.port": "SMILE_SCORES_PORT",
  "scores.broker": "SMILE_SCORES_BROKER",
  "scores.tls.certificate": "SMILE_SCORES_TLS_CERTIFICATE",
  "scores.tls.key": "SMILE_SCORES_TLS_KEY",
  "scores.tls.authority": "SMILE_SCORES_TLS_AUTHORITY",
  "scores.withoutTls": "SMILE_SCORES_WITHOUT_TLS",
  "quota.framesPerSecond": "SMILE_QUOTA_FRAMES_PER_SECOND",
  "quota.bytesPerSecond": "SMILE_QUOTA_BYTES_PER_SECOND",
  jobBacklog: "SMILE_JOB_BACKLOG",
  audit: "SMILE_AUDIT",
  ...monitoringEnvNames,
  logLevel: "SMILE_LOG_LEVEL",
} as const;

/** `smile stream-processor` */
export const streamProcessorCommand: ServiceCommand = {
  name: "stream-processor",
  summary: "Takes frames over MQTT into the log, merges ciphertexts into full batches, and delivers scores to the plants.",
  details: `                 ${logHelp};
                 deployments: paths of deployment documents;
                 ${plantsHelp};
                 frames {host 127.0.0.1, port 1883, maxPacketBytes, maxConnections 256, maxConnectionsPerPlant 64,
                 tls {certificate, key}} or {broker: mqtts://..., clientId, tls {certificate, key, authority}};
                 scores, likewise, port 1884; without tls on this machine only, or with withoutTls in so many words;
                 quota of each plant {framesPerSecond 1000, bytesPerSecond 134217728}; jobBacklog 256: frames of jobs
                 that wait in the log to be scored, at most;
                 audit: path of the audit log; lingerMs 20; openPerKind 4; logLevel info;
${monitoringHelp}`,
  async start({ configFile, folder, env, logger: loggerAt, signal }) {
    collectYoungOften();
    const settings = loadConfig({ schema: Schema, env, envNames, file: configFile });
    const logger = loggerAt(settings.logLevel);
    // Before the log is looked for: a wrong file is told at once.
    const deployments = settings.deployments.map((path) => readAnyDeployment(resolve(folder, path), env));
    await using opened = new AsyncDisposableStack();
    const monitoring = opened.use(await openMonitoring({ service: "stream-processor", settings, folder, logger, stopping: signal }));
    const log = opened.use(await openLog(settings.log, folder, "smile-stream-processor", logger.child({ part: "log" }), env));
    const audit =
      settings.audit === undefined
        ? undefined
        : opened.use(openAuditLog({ path: resolve(folder, settings.audit), actor: "stream-processor" }));
    const plants = opened.use(openPlantRegistry({ plants: settings.plants, folder, logger, ...(audit && { audit }) }));
    const frames = opened.use(openEndpoint(settings.frames, folder, "frames", logger));
    const scores = opened.use(openEndpoint(settings.scores, folder, "scores", logger));
    const { lingerMs, openPerKind, quota, jobBacklog } = settings;
    const service = opened.use(
      await startStreamProcessor({
        log,
        logger,
        deployments,
        plants,
        frames: frames.endpoint,
        scores: scores.endpoint,
        quota,
        jobBacklog,
        limits: { lingerMs, openPerKind },
        partitions: settings.log.partitions,
      }),
    );
    audit?.append("service-started", { deployments: deployments.length, plants: plants.plants.length });
    const readsLog = () =>
      Promise.all(WORK_KINDS.map((work) => service.lag(work))).then(
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
      metrics: [...processorMetrics(service), ...plantRegistryMetrics(plants)],
    });
    const owned = opened.move();
    return { done: service.done, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  },
};
