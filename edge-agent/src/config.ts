import { resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { paramsId } from "@smile/he/params";
import { type Environment, loadConfig } from "@smile/runtime/config";
import { readDeployment, readDocument } from "@smile/runtime/document-file";
import { LogLevel } from "@smile/runtime/logging";
import { monitoringEnvNames, monitoringShape } from "@smile/runtime/monitoring-config";
import { LeaseDocument } from "@smile/schemas/documents";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { NAME } from "@smile/schemas/topics";
import { z } from "zod";
import { readEncryptionKey } from "./encryption-key.ts";
import type { EdgeAgentConfig } from "./service.ts";
import { defaultBounds } from "./store.ts";

const path = z.string().min(1);
const name = z.string().regex(NAME, "must be 1 to 64 letters, digits, dots, dashes or underscores");
const duration = z.number().min(0).max(86_400_000);

/** The agent's configuration file. Paths are relative to its folder; durations are milliseconds, sizes bytes. */
const Schema = z.strictObject({
  plant: name,
  gateway: name,
  /** Path of the deployment document. */
  deployment: path,
  /** The lease, or the path of its document. */
  lease: z.union([path, LeaseDocument]),
  /** Path of the plant's public-key document, or in symmetric mode of this gateway's secret key (mode 0600). */
  key: path,
  /** Refuses any other key. */
  keyId: z.string().optional(),
  mqtt: z.strictObject({
    url: z.url({ protocol: /^mqtts?$/ }),
    window: z.number().int().min(1).max(1024).default(16),
    largestEnvelopeBytes: z
      .number()
      .int()
      .min(1024)
      .max(1 << 28)
      .default(1 << 17),
  }),
  /** Path of the agent's database. */
  store: path,
  /** How much is kept while the broker is away, and how fast it follows when it is back. Ages count the agent's running time. */
  spool: z
    .strictObject({
      maxBytes: z
        .number()
        .int()
        .min(1 << 20)
        .max(2 ** 40)
        .default(defaultBounds.maxBytes),
      maxAgeMs: z
        .number()
        .int()
        .min(60_000)
        .max(366 * 86_400_000)
        .default(defaultBounds.maxAgeMs),
      backlogFramesPerSecond: z.number().min(0.1).max(100_000).default(200),
    })
    .prefault({}),
  source: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("stdin"), atEnd: z.enum(["flush", "seal", "keep"]).default("keep") }),
    z.strictObject({ kind: z.literal("file"), path, atEnd: z.enum(["flush", "seal", "keep"]).default("flush") }),
  ]),
  lingerMs: duration.default(1000),
  commitMs: duration.default(1000),
  largestOpenEnds: z.number().int().min(1).max(1000).default(4),
  ...monitoringShape,
  logLevel: LogLevel.default("info"),
});

/** Environment variables that go before the file. */
export const envNames = {
  plant: "SMILE_PLANT",
  gateway: "SMILE_GATEWAY",
  deployment: "SMILE_DEPLOYMENT",
  lease: "SMILE_LEASE",
  key: "SMILE_KEY",
  "mqtt.url": "SMILE_MQTT_URL",
  store: "SMILE_STORE",
  ...monitoringEnvNames,
  logLevel: "SMILE_LOG_LEVEL",
} as const;

export type AgentSettings = z.output<typeof Schema>;

/** @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, CONFIG_INVALID naming each key */
export function readSettings(file: string, env: Environment): AgentSettings {
  return loadConfig({ schema: Schema, env, envNames, file });
}

/**
 * Reads the documents that the settings name.
 * @param folder that relative paths start from: the configuration file's
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID, KEY_MISMATCH, CONFIG_INVALID
 */
export function agentConfig(settings: AgentSettings, folder: string, env: Environment): EdgeAgentConfig {
  const { plant, gateway, source, mqtt, spool, lingerMs, commitMs, largestOpenEnds } = settings;
  const deployment = readDeployment(resolve(folder, settings.deployment), env);
  const use = {
    plant,
    gateway,
    keyMode: deployment.keyMode,
    paramsId: paramsId(paramsFromDocument(deployment.params)),
    keyId: settings.keyId,
  };
  return {
    plant,
    gateway,
    deployment,
    lease: readLease(settings, folder),
    key: readEncryptionKey(resolve(folder, settings.key), use),
    storePath: resolve(folder, settings.store),
    spoolBounds: { maxBytes: spool.maxBytes, maxAgeMs: spool.maxAgeMs },
    backlogFramesPerSecond: spool.backlogFramesPerSecond,
    lingerMs,
    commitMs,
    largestOpenEnds,
    window: mqtt.window,
    largestEnvelopeBytes: mqtt.largestEnvelopeBytes,
    atEnd: source.atEnd,
  };
}

function readLease({ lease, gateway }: AgentSettings, folder: string): z.output<typeof LeaseDocument> {
  const where = typeof lease === "string" ? resolve(folder, lease) : "lease";
  const document = typeof lease === "string" ? readDocument(LeaseDocument, where, "lease") : lease;
  if (document.gateway !== gateway) {
    throw new PipelineError("CONFIG_INVALID", `${where}: gateway is ${document.gateway}, not ${gateway}`, { field: "lease.gateway" });
  }
  return document;
}
