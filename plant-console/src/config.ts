import { dirname, resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { type Environment, loadConfig } from "@smile/runtime/config";
import { readDocument } from "@smile/runtime/document-file";
import { LogConfig, logEnvNames } from "@smile/runtime/log-config";
import { LogLevel } from "@smile/runtime/logging";
import { monitoringEnvNames, monitoringShape } from "@smile/runtime/monitoring-config";
import { type Lease, LeaseDocument } from "@smile/schemas/documents";
import { NAME } from "@smile/schemas/topics";
import { z } from "zod";

const path = z.string().min(1);

export const ConsoleConfigSchema = z.strictObject({
  plant: z.string().regex(NAME, "must be 1 to 64 letters, digits, dots, dashes or underscores"),
  /** Where deliveries come from: either MQTT, or the service's log read by this console itself. */
  mqtt: z
    .strictObject({
      url: z.string().regex(/^mqtts?:\/\//, "must begin with mqtt:// or mqtts://"),
      /** Default: the plant's name and "-console". Two consoles with one id throw each other out. */
      clientId: z.string().min(1).optional(),
    })
    .optional(),
  log: LogConfig.optional(),
  /** Paths; relative ones count from the folder of the configuration file. */
  deployment: path,
  keystore: path,
  store: path,
  /** The leases themselves, or the path of a JSON file with an array of them. */
  leases: z.union([path, z.array(LeaseDocument).min(1)]),
  batch: z
    .strictObject({
      deliveries: z.number().int().min(1).max(4096).default(64),
      waitMs: z.number().int().min(0).max(10_000).default(0),
    })
    .prefault({}),
  resendMs: z.number().int().min(100).default(2000),
  retainRisks: z.number().int().min(1000).default(1_000_000),
  ...monitoringShape,
  logLevel: LogLevel.default("info"),
});
export type ConsoleConfig = z.output<typeof ConsoleConfigSchema>;

const envNames = {
  plant: "SMILE_PLANT",
  "mqtt.url": "SMILE_MQTT_URL",
  "mqtt.clientId": "SMILE_MQTT_CLIENT_ID",
  deployment: "SMILE_DEPLOYMENT",
  keystore: "SMILE_KEYSTORE",
  leases: "SMILE_LEASES",
  store: "SMILE_STORE",
  ...logEnvNames,
  ...monitoringEnvNames,
} as const;

/** @throws {PipelineError} CONFIG_INVALID, FILE_MISSING, FILE_DAMAGED */
export function loadConsoleConfig(file: string, env: Environment): ConsoleConfig {
  const config = loadConfig({ schema: ConsoleConfigSchema, env, envNames, file });
  if ((config.mqtt === undefined) === (config.log === undefined)) {
    throw new PipelineError("CONFIG_INVALID", `invalid configuration in ${file}: needs either mqtt or log, not both`);
  }
  const from = (each: string) => resolve(dirname(resolve(file)), each);
  return {
    ...config,
    deployment: from(config.deployment),
    keystore: from(config.keystore),
    store: from(config.store),
    ...(config.log?.path === undefined ? {} : { log: { ...config.log, path: from(config.log.path) } }),
    leases: typeof config.leases === "string" ? from(config.leases) : config.leases,
  };
}

/** @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID, each naming the file */
export function readLeases(leases: ConsoleConfig["leases"]): readonly Lease[] {
  return typeof leases === "string" ? readDocument(z.array(LeaseDocument).min(1), leases, "leases") : leases;
}
