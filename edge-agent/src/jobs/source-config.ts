import { resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { RecordMapping } from "@smile/features/records/record-spec";
import { paramsId } from "@smile/he/params";
import { type Environment, loadConfig } from "@smile/runtime/config";
import { readAnyDeployment, readDocument } from "@smile/runtime/document-file";
import { LogLevel } from "@smile/runtime/logging";
import { monitoringEnvNames, monitoringShape } from "@smile/runtime/monitoring-config";
import { frameCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import type { SegmentDeployment } from "@smile/schemas/record-documents";
import { negotiate, ServiceDocument } from "@smile/schemas/service-document";
import { z } from "zod";
import { gatewayShape, path } from "../gateway-shape.ts";
import type { KeyFiles } from "../key-files.ts";
import { readMapping } from "./record-mapping.ts";

/** A source of records. Paths are relative to the file's folder; sizes are bytes. */
const Fields = z.strictObject({
  ...gatewayShape,
  /** Path of the segment deployment. */
  deployment: path,
  /** A mapping that ships with the product, or the path of one. */
  mapping: path,
  /** Path of the database of jobs. */
  store: path,
  /** Folder of whose records the jobs hold, by pseudonym: the console reads it. */
  people: path.default("people"),
  /** Path of the key that pseudonyms are made with; made at first use. */
  pseudonymKey: path.default("pseudonym-key.json"),
  /** Path of a record of the jobs and of the permissions that they made use of. */
  audit: path.default("audit.db"),
  ...monitoringShape,
  logLevel: LogLevel.default("info"),
});
const Schema = Fields.refine(({ register, identity }) => (register === undefined) === (identity === undefined), {
  path: ["identity"],
  error: "register and identity need each other",
});

/** Environment variables that go before the file. */
const envNames = {
  plant: "SMILE_PLANT",
  gateway: "SMILE_GATEWAY",
  deployment: "SMILE_DEPLOYMENT",
  mapping: "SMILE_MAPPING",
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
  people: "SMILE_PEOPLE",
  pseudonymKey: "SMILE_PSEUDONYM_KEY",
  audit: "SMILE_AUDIT",
  ...monitoringEnvNames,
  logLevel: "SMILE_LOG_LEVEL",
} as const;

export type SourceSettings = z.output<typeof Schema>;

/** @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, CONFIG_INVALID naming each key */
export function readSourceSettings(file: string, env: Environment): SourceSettings {
  return loadConfig({ schema: Schema, env, envNames, file });
}

/** What a configuration and the documents that it names amount to. */
export type ConfiguredSource = {
  readonly plant: string;
  readonly gateway: string;
  readonly deployment: SegmentDeployment;
  readonly mapping: RecordMapping;
  /** Read anew at each job. */
  readonly keyFiles: KeyFiles;
  readonly mqtt: SourceSettings["mqtt"];
  readonly withoutTls: SourceSettings["withoutTls"];
  /** PEM: what certificates of the service's brokers are issued by; null where the service's document does not say. */
  readonly brokerAuthority: string | null;
  /** Absolute paths. */
  readonly store: string;
  readonly people: string;
  readonly pseudonymKey: string;
  readonly audit: string;
};

/**
 * Reads the documents that the settings name.
 * @param folder that relative paths start from: the configuration file's
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID, VERSION_UNSUPPORTED, CONFIG_INVALID
 */
export function configuredSource(settings: SourceSettings, folder: string, env: Environment): ConfiguredSource {
  const { plant, gateway, register, identity, mqtt, withoutTls } = settings;
  const at = (file: string) => resolve(folder, file);
  const deployment = readAnyDeployment(at(settings.deployment), env);
  if (deployment.kind !== "segment-deployment") {
    throw new PipelineError("DOCUMENT_INVALID", `${settings.deployment}: is for windows of machines, not for records`, { field: "kind" });
  }
  const service = settings.service === undefined ? undefined : readDocument(ServiceDocument, at(settings.service), "service");
  if (service !== undefined) negotiate("frame", frameCodec.versions.slice(-1), service.reads.frame);
  const brokerAuthority = service?.certificateAuthority ?? null;
  if (brokerAuthority !== null && settings.tls === undefined && mqtt.url.startsWith("mqtts:")) {
    throw new PipelineError("CONFIG_INVALID", "tls: the service's brokers ask for a certificate", { field: "tls" });
  }
  return {
    plant,
    gateway,
    deployment,
    mapping: readMapping(settings.mapping, folder),
    keyFiles: {
      use: { plant, gateway, keyMode: deployment.keyMode, paramsId: paramsId(paramsFromDocument(deployment.params)) },
      key: at(settings.key),
      signingKey: at(settings.signingKey),
      pin: register === undefined || identity === undefined ? undefined : { path: at(register), identity },
    },
    mqtt,
    withoutTls,
    brokerAuthority,
    store: at(settings.store),
    people: at(settings.people),
    pseudonymKey: at(settings.pseudonymKey),
    audit: at(settings.audit),
  };
}
