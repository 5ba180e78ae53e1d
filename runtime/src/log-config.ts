import { resolve } from "node:path";
import { z } from "zod";
import type { Environment } from "./config.ts";
import { openEmbeddedLog } from "./embedded-log.ts";
import { openKafkaLog } from "./kafka-log.ts";
import { kafkaSecurityEnvNames, kafkaSecurityShape, readKafkaSecurity } from "./kafka-security.ts";
import type { Log } from "./log.ts";
import type { Logger } from "./logging.ts";

/** Which log a service works on: the embedded one, in a file, or Apache Kafka. Exactly one of `path` and `kafka`. */
export const LogConfig = z
  .strictObject({
    path: z.string().min(1).optional(),
    kafka: z
      .strictObject({
        /** host:port of one broker or more. */
        brokers: z.array(z.string().regex(/^[^\s:]+:\d+$/, "must be host:port")).min(1),
        replicationFactor: z.number().int().min(1).optional(),
        sessionTimeoutMs: z.number().int().min(6000).max(300_000).optional(),
        ...kafkaSecurityShape,
      })
      .optional(),
    partitions: z.number().int().min(1).max(1024).default(4),
  })
  .refine(({ path, kafka }) => (path === undefined) !== (kafka === undefined), "needs either path or kafka, not both");
export type LogConfig = z.output<typeof LogConfig>;

/** Environment variables of `LogConfig` under the key `log`. */
export const logEnvNames = {
  "log.path": "SMILE_LOG_PATH",
  "log.kafka.brokers": "SMILE_KAFKA_BROKERS",
  ...kafkaSecurityEnvNames,
} as const;

/** Help on `LogConfig`, for a command's details. */
export const logHelp = `log {path, partitions 4} or {kafka {brokers, replicationFactor, sessionTimeoutMs 10000,
                 tls {authority, certificate, key}, sasl {mechanism, username, passwordFile}, withoutTls}, partitions 4}`;

/**
 * @param folder that a relative path starts from
 * @param clientId name under which Kafka knows this service
 * @param env for the password of Kafka's `sasl`, where no file has it
 * @throws {PipelineError} LOG_UNAVAILABLE, BROKER_REFUSED, CERTIFICATE_INVALID, TLS_REQUIRED, CONFIG_INVALID, FILE_MISSING, FILE_DAMAGED
 */
export async function openLog(
  { path, kafka }: LogConfig,
  folder: string,
  clientId: string,
  logger: Logger,
  env: Environment = {},
): Promise<Log> {
  if (kafka === undefined) return openEmbeddedLog({ path: resolve(folder, path!), logger });
  const { brokers, replicationFactor, sessionTimeoutMs } = kafka;
  return openKafkaLog({
    brokers,
    clientId,
    logger,
    ...readKafkaSecurity(kafka, brokers, folder, env),
    ...(replicationFactor === undefined ? {} : { replicationFactor }),
    ...(sessionTimeoutMs === undefined ? {} : { sessionTimeoutMs }),
  });
}
