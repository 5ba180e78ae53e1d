import { resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { paramsId } from "@smile/he/params";
import { type Environment, loadConfig } from "@smile/runtime/config";
import { readDeployment, readDocument } from "@smile/runtime/document-file";
import { LogLevel } from "@smile/runtime/logging";
import { monitoringEnvNames, monitoringShape } from "@smile/runtime/monitoring-config";
import { LeaseDocument } from "@smile/schemas/documents";
import { frameCodec, gapCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { negotiate, ServiceDocument } from "@smile/schemas/service-document";
import { z } from "zod";
import { gatewayShape, path } from "./gateway-shape.ts";
import type { AgentKeys, KeyFiles } from "./key-files.ts";
import { checkLanes, readRegister } from "./plant-pin.ts";
import type { EdgeAgentConfig } from "./service.ts";
import { defaultBounds } from "./store.ts";

const duration = z.number().min(0).max(86_400_000);

/** The agent's configuration file. Paths are relative to its folder; durations are milliseconds, sizes bytes. */
const Fields = z.strictObject({
  ...gatewayShape,
  /** Path of the deployment document. */
  deployment: path,
  /** The lease, or the path of its document. */
  lease: z.union([path, LeaseDocument]),
  /** Refuses any other key, also one that comes while the agent runs: for a rotation this has to change first. */
  keyId: z.string().optional(),
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
const Schema = Fields.refine(({ register, identity }) => (register === undefined) === (identity === undefined), {
  path: ["identity"],
  error: "register and identity need each other",
});

/** Environment variables that go before the file. */
export const envNames = {
  plant: "SMILE_PLANT",
  gateway: "SMILE_GATEWAY",
  deployment: "SMILE_DEPLOYMENT",
  lease: "SMILE_LEASE",
  key: "SMILE_KEY",
  register: "SMILE_REGISTER",
  identity: "SMILE_IDENTITY",
  signingKey: "SMILE_SIGNING_KEY",
  service: "SMILE_SERVICE",
  "mqtt.url": "SMILE_MQTT_URL",
  "tls.certificate": "SMILE_TLS_CERTIFICATE",
  "tls.key": "SMILE_TLS_KEY",
  "tls.authority": "SMILE_TLS_AUTHORITY",
  withoutTls: "SMILE_WITHOUT_TLS",
  store: "SMILE_STORE",
  ...monitoringEnvNames,
  logLevel: "SMILE_LOG_LEVEL",
} as const;

export type AgentSettings = z.output<typeof Schema>;

/** @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, CONFIG_INVALID naming each key */
export function readSettings(file: string, env: Environment): AgentSettings {
  return loadConfig({ schema: Schema, env, envNames, file });
}

/** What a configuration file and the documents that it names amount to. */
export type ConfiguredAgent = {
  readonly config: Omit<EdgeAgentConfig, keyof AgentKeys>;
  /** Not read yet: whoever reads them has to look after their changes from before that. */
  readonly keyFiles: KeyFiles;
  /** PEM: what certificates of the service's brokers are issued by; null where the service's document does not say. */
  readonly brokerAuthority: string | null;
};

/**
 * Reads the documents that the settings name.
 * @param folder that relative paths start from: the configuration file's
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID, SIGNATURE_INVALID, VERSION_UNSUPPORTED, CONFIG_INVALID
 */
export function configuredAgent(settings: AgentSettings, folder: string, env: Environment): ConfiguredAgent {
  const { plant, gateway, keyId, source, mqtt, spool, lingerMs, commitMs, largestOpenEnds } = settings;
  const at = (file: string) => resolve(folder, file);
  const deployment = readDeployment(at(settings.deployment), env);
  const lease = readLease(settings, folder);
  const { register, identity } = settings;
  const pin = register === undefined || identity === undefined ? undefined : { path: at(register), identity };
  if (pin !== undefined) checkLanes(readRegister(pin, plant), lease);
  const keyFiles: KeyFiles = {
    use: { plant, gateway, keyMode: deployment.keyMode, paramsId: paramsId(paramsFromDocument(deployment.params)), keyId },
    key: at(settings.key),
    signingKey: at(settings.signingKey),
    pin,
  };
  const service = settings.service === undefined ? undefined : readDocument(ServiceDocument, at(settings.service), "service");
  const brokerAuthority = service?.certificateAuthority ?? null;
  if (brokerAuthority !== null && settings.tls === undefined && mqtt.url.startsWith("mqtts:")) {
    throw new PipelineError("CONFIG_INVALID", "tls: the service's brokers ask for a certificate", { field: "tls" });
  }
  const config = {
    plant,
    gateway,
    deployment,
    lease,
    ...(service === undefined
      ? {}
      : {
          versions: {
            frame: negotiate("frame", frameCodec.versions, service.reads.frame),
            gap: negotiate("gap", gapCodec.versions, service.reads.gap),
          },
        }),
    storePath: at(settings.store),
    spoolBounds: { maxBytes: spool.maxBytes, maxAgeMs: spool.maxAgeMs },
    backlogFramesPerSecond: spool.backlogFramesPerSecond,
    lingerMs,
    commitMs,
    largestOpenEnds,
    window: mqtt.window,
    largestEnvelopeBytes: mqtt.largestEnvelopeBytes,
    atEnd: source.atEnd,
  };
  return { config, keyFiles, brokerAuthority };
}

function readLease({ lease, gateway }: AgentSettings, folder: string): z.output<typeof LeaseDocument> {
  const where = typeof lease === "string" ? resolve(folder, lease) : "lease";
  const document = typeof lease === "string" ? readDocument(LeaseDocument, where, "lease") : lease;
  if (document.gateway !== gateway) {
    throw new PipelineError("CONFIG_INVALID", `${where}: gateway is ${document.gateway}, not ${gateway}`, { field: "lease.gateway" });
  }
  return document;
}
