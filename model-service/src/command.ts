import { resolve } from "node:path";
import { openAuditLog, silentAudit } from "@smile/runtime/audit-log";
import { collectSeldom, collectYoungOften } from "@smile/runtime/collections";
import { loadConfig } from "@smile/runtime/config";
import { readAnyDeployment, readDocument } from "@smile/runtime/document-file";
import { LogConfig, logEnvNames, logHelp, openLog } from "@smile/runtime/log-config";
import { LogLevel } from "@smile/runtime/logging";
import { openMonitoring } from "@smile/runtime/monitoring";
import { monitoringEnvNames, monitoringHelp, monitoringShape } from "@smile/runtime/monitoring-config";
import { openPlantRegistry } from "@smile/runtime/plant-registry";
import { plantRegistryMetrics } from "@smile/runtime/plant-registry-metrics";
import { PlantsConfig, plantsHelp } from "@smile/runtime/plants-config";
import type { ServiceCommand } from "@smile/runtime/service-command";
import { readSigningKey } from "@smile/runtime/signing-key-file";
import { HeadDocument } from "@smile/schemas/documents";
import { WORK_KINDS } from "@smile/schemas/topics";
import { z } from "zod";
import { modelServiceMetrics, scoringHistogram } from "./metrics.ts";
import { startModelService } from "./service.ts";

const path = z.string().min(1);

const Schema = z.strictObject({
  log: LogConfig,
  deployments: z
    .array(
      z.strictObject({ deployment: path, heads: z.array(path).min(1), modelPrivacy: z.enum(["compact", "sanitised"]).default("compact") }),
    )
    .min(1),
  plants: PlantsConfig,
  signingKey: path,
  audit: path.optional(),
  deadLettersPerHour: z.number().int().min(1).default(600),
  threads: z.number().int().min(1).max(256).optional(),
  ...monitoringShape,
  logLevel: LogLevel.default("info"),
});

const envNames = {
  ...logEnvNames,
  signingKey: "SMILE_SIGNING_KEY",
  audit: "SMILE_AUDIT",
  threads: "SMILE_THREADS",
  ...monitoringEnvNames,
  logLevel: "SMILE_LOG_LEVEL",
} as const;

/** `smile model-service` */
export const modelServiceCommand: ServiceCommand = {
  name: "model-service",
  summary: "Scores encrypted batches of the log by every head that is bound to their feature set. Holds no secret of any plant.",
  details: `                 ${logHelp};
                 deployments [{deployment, heads [paths], modelPrivacy compact}];
                 ${plantsHelp};
                 signingKey (path): what it signs scores with; audit (path): a record of what it loaded and took; none
                 deadLettersPerHour 600, of each plant; threads: one per core; logLevel info;
${monitoringHelp}`,
  async start({ configFile, folder, env, logger: loggerAt, signal }) {
    collectYoungOften();
    // With more room its memory would go on rising for minutes; decision 16 says what that costs.
    collectSeldom(100);
    const settings = loadConfig({ schema: Schema, env, envNames, file: configFile });
    const logger = loggerAt(settings.logLevel);
    const at = (file: string) => resolve(folder, file);
    // Before the log is looked for: a wrong file is told at once.
    const deployments = settings.deployments.map(({ deployment, heads, modelPrivacy }) => ({
      deployment: readAnyDeployment(at(deployment), env),
      heads: heads.map((head) => readDocument(HeadDocument, at(head), "head")),
      modelPrivacy,
    }));
    const { key: signingKey } = readSigningKey(at(settings.signingKey));
    await using opened = new AsyncDisposableStack();
    const audit =
      settings.audit === undefined ? silentAudit : opened.use(openAuditLog({ path: at(settings.audit), actor: "model-service" }));
    const plants = opened.use(openPlantRegistry({ plants: settings.plants, folder, logger, audit }));
    const monitoring = opened.use(await openMonitoring({ service: "model-service", settings, folder, logger, stopping: signal }));
    const scoring = scoringHistogram();
    const log = opened.use(await openLog(settings.log, folder, "smile-model-service", logger.child({ part: "log" }), env));
    const service = opened.use(
      await startModelService({
        log,
        logger,
        deployments,
        plants,
        signingKey,
        audit,
        deadLettersPerHour: settings.deadLettersPerHour,
        partitions: settings.log.partitions,
        onScored: scoring.observe,
        ...(settings.threads === undefined ? {} : { pool: { threads: settings.threads } }),
      }),
    );
    const readsLog = () =>
      Promise.all(WORK_KINDS.map((work) => service.lag(work))).then(
        () => true,
        () => false,
      );
    monitoring.watch({
      done: service.done,
      conditions: async () => ({ "joined its group of the log": await readsLog() }),
      metrics: [...modelServiceMetrics(service), ...plantRegistryMetrics(plants), scoring],
    });
    const owned = opened.move();
    return { done: service.done, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  },
};
