import { dirname, resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { LogConfig, logEnvNames } from "@smile/runtime/log-config";
import { LogLevel } from "@smile/runtime/logging";
import { monitoringEnvNames, monitoringShape } from "@smile/runtime/monitoring-config";
import { tlsShape } from "@smile/runtime/tls-config";
import { NAME } from "@smile/schemas/topics";
import { z } from "zod";

const path = z.string().min(1);

/** What every console's configuration says of whom it believes, what it decrypts with, and where deliveries come from. */
export const consoleShape = {
  plant: z.string().regex(NAME, "must be 1 to 64 letters, digits, dots, dashes or underscores"),
  /** Where deliveries come from: either MQTT, or the service's log read by this console itself. */
  mqtt: z
    .strictObject({
      url: z.string().regex(/^mqtts?:\/\//, "must begin with mqtt:// or mqtts://"),
      /** Default: the plant's name and "-console", or "-console-jobs". Two consoles with one id throw each other out. */
      clientId: z.string().min(1).optional(),
    })
    .optional(),
  log: LogConfig.optional(),
  /** Paths; relative ones count from the folder of the configuration file. */
  deployment: path,
  /** Sealed by a passphrase: out of `passphraseFile`, else SMILE_PASSPHRASE. */
  keystore: path,
  passphraseFile: path.optional(),
  /** The service document: whose signatures count on scores. */
  service: path,
  /** The plant's own register: whose signatures count on its windows. */
  register: path,
  /** SHA-256 of the plant's identity, which must have signed the register. */
  identity: z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits"),
  /** What the console shows the broker of `mqtt`. Without an authority of its own, that of the service document. */
  ...tlsShape,
  /** Where the use and the end of keys is recorded; without it, nowhere. */
  audit: path.optional(),
  store: path,
  resendMs: z.number().int().min(100).default(2000),
  ...monitoringShape,
  logLevel: LogLevel.default("info"),
};

export const consoleEnvNames = {
  plant: "SMILE_PLANT",
  "mqtt.url": "SMILE_MQTT_URL",
  "mqtt.clientId": "SMILE_MQTT_CLIENT_ID",
  deployment: "SMILE_DEPLOYMENT",
  keystore: "SMILE_KEYSTORE",
  service: "SMILE_SERVICE",
  register: "SMILE_REGISTER",
  identity: "SMILE_IDENTITY",
  "tls.certificate": "SMILE_TLS_CERTIFICATE",
  "tls.key": "SMILE_TLS_KEY",
  "tls.authority": "SMILE_TLS_AUTHORITY",
  withoutTls: "SMILE_WITHOUT_TLS",
  audit: "SMILE_AUDIT",
  store: "SMILE_STORE",
  ...logEnvNames,
  ...monitoringEnvNames,
} as const;

const ConsoleShape = z.strictObject(consoleShape);
type Loaded = z.output<typeof ConsoleShape>;

/** A console's configuration, its paths absolute. */
export type ConsoleSources = Loaded & {
  /** Of the configuration file: what is relative in `log` starts from here. */
  readonly folder: string;
};

/**
 * The configuration with absolute paths, those of `consoleShape`; further ones are the caller's.
 * @param file path of the configuration file
 * @throws {PipelineError} CONFIG_INVALID for both of `mqtt` and `log`, or neither, and for `tls` without an address that asks for it
 */
export function withSources<C extends Loaded>(config: C, file: string): C & ConsoleSources {
  const { mqtt, log, passphraseFile, tls, audit } = config;
  if ((mqtt === undefined) === (log === undefined)) {
    throw new PipelineError("CONFIG_INVALID", `invalid configuration in ${file}: needs either mqtt or log, not both`);
  }
  if (tls !== undefined && mqtt?.url.startsWith("mqtts:") !== true) {
    throw new PipelineError("CONFIG_INVALID", `invalid configuration in ${file}: tls needs an mqtt.url that begins with mqtts://`);
  }
  const folder = dirname(resolve(file));
  const from = (each: string) => resolve(folder, each);
  return {
    ...config,
    folder,
    deployment: from(config.deployment),
    keystore: from(config.keystore),
    service: from(config.service),
    register: from(config.register),
    store: from(config.store),
    ...(passphraseFile !== undefined && { passphraseFile: from(passphraseFile) }),
    ...(audit !== undefined && { audit: from(audit) }),
    ...(tls && {
      tls: {
        certificate: from(tls.certificate),
        key: from(tls.key),
        ...(tls.authority !== undefined && { authority: from(tls.authority) }),
      },
    }),
  };
}
