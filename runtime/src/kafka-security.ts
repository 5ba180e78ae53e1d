import { resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { z } from "zod";
import type { Environment } from "./config.ts";
import type { KafkaLogOptions } from "./kafka-log.ts";
import { readTextFile } from "./private-file.ts";
import { certificatesOf } from "./tls-certificates.ts";
import { requireTlsBeyondLoopback, WITHOUT_TLS } from "./tls-config.ts";
import { readTls } from "./tls-files.ts";

const path = z.string().min(1);

/** How brokers are reached and what they are shown: part of `log.kafka`. Paths are relative to the configuration's folder. */
export const kafkaSecurityShape = {
  /** PEM files. Without `authority` the brokers' certificates must come from one that Node trusts. */
  tls: z
    .strictObject({ authority: path.optional(), certificate: path.optional(), key: path.optional() })
    .refine(({ certificate, key }) => (certificate === undefined) === (key === undefined), "certificate and key need each other")
    .optional(),
  /** The password is in a file of mode 0600, or in the environment variable that `PASSWORD_VARIABLE` names: never in a configuration. */
  sasl: z
    .strictObject({
      mechanism: z.enum(["plain", "scram-sha-256", "scram-sha-512"]),
      username: z.string().min(1),
      passwordFile: path.optional(),
    })
    .optional(),
  withoutTls: z.literal(WITHOUT_TLS).optional(),
};
const KafkaSecurity = z.strictObject(kafkaSecurityShape);
export type KafkaSecurity = z.output<typeof KafkaSecurity>;

/** Environment variables of this part under the key `log.kafka`. */
export const kafkaSecurityEnvNames = {
  "log.kafka.tls.authority": "SMILE_KAFKA_TLS_AUTHORITY",
  "log.kafka.tls.certificate": "SMILE_KAFKA_TLS_CERTIFICATE",
  "log.kafka.tls.key": "SMILE_KAFKA_TLS_KEY",
  "log.kafka.sasl.mechanism": "SMILE_KAFKA_SASL_MECHANISM",
  "log.kafka.sasl.username": "SMILE_KAFKA_SASL_USERNAME",
  "log.kafka.sasl.passwordFile": "SMILE_KAFKA_SASL_PASSWORD_FILE",
} as const;
export const PASSWORD_VARIABLE = "SMILE_KAFKA_SASL_PASSWORD";

/**
 * Reads the files that the settings name.
 * @param brokers host:port each
 * @throws {PipelineError} TLS_REQUIRED for a broker beyond this machine; CONFIG_INVALID without a password, or for a secret that others
 *   may read; FILE_MISSING, FILE_DAMAGED, CERTIFICATE_INVALID. None quotes a secret
 */
export function readKafkaSecurity(
  { tls, sasl, withoutTls }: KafkaSecurity,
  brokers: readonly string[],
  folder: string,
  env: Environment,
): Pick<KafkaLogOptions, "ssl" | "sasl"> {
  for (const broker of brokers) {
    requireTlsBeyondLoopback(broker.slice(0, broker.lastIndexOf(":")), tls !== undefined, withoutTls, "log.kafka.brokers");
  }
  return {
    ...(tls === undefined ? {} : { ssl: readSsl(tls, folder) }),
    ...(sasl === undefined
      ? {}
      : { sasl: { mechanism: sasl.mechanism, username: sasl.username, password: readPassword(sasl, folder, env) } }),
  };
}

function readSsl({ authority, certificate, key }: NonNullable<KafkaSecurity["tls"]>, folder: string): NonNullable<KafkaLogOptions["ssl"]> {
  const what = "log.kafka.tls";
  if (certificate !== undefined && key !== undefined) {
    const read = readTls({ certificate, key, authority }, folder, what);
    return { cert: read.certificate, key: read.key, ...(read.authority === undefined ? {} : { ca: read.authority }) };
  }
  if (authority === undefined) return true;
  const file = resolve(folder, authority);
  const ca = readTextFile(file, `${what}.authority`, null);
  if (certificatesOf(ca).length === 0) {
    throw new PipelineError("FILE_DAMAGED", `${what}.authority: ${file} holds no certificate in PEM form`, { path: file });
  }
  return { ca };
}

function readPassword({ passwordFile }: NonNullable<KafkaSecurity["sasl"]>, folder: string, env: Environment): string {
  const what = "log.kafka.sasl.passwordFile";
  const given = env[PASSWORD_VARIABLE];
  if (given) return given;
  if (passwordFile === undefined) {
    throw new PipelineError("CONFIG_INVALID", `${what} (or ${PASSWORD_VARIABLE} in the environment): needed for sasl`, { field: what });
  }
  const file = resolve(folder, passwordFile);
  // An editor's line end is no part of it.
  const password = readTextFile(file, what, "password").replace(/\r?\n$/, "");
  if (password === "") throw new PipelineError("FILE_DAMAGED", `${what}: ${file} is empty`, { path: file });
  return password;
}
