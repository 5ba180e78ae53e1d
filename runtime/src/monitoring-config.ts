import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { z } from "zod";
import { tlsShape } from "./tls-config.ts";

/** What HTTP can carry in a header, without blanks. */
const tokenText = /^[\x21-\x7e]+$/;

const HealthSettings = z.strictObject({
  host: z.string().min(1).default("127.0.0.1"),
  port: z.number().int().min(0).max(65_535),
  ...tlsShape,
});

const TimeSeriesSettings = z
  .strictObject({
    /** Without `/api/v2`, without credentials. */
    url: z.url({ protocol: /^https?$/ }).refine((url) => {
      const { username, password, pathname } = new URL(url);
      return username === "" && password === "" && !/\/api\/v2\/?$/.test(pathname);
    }, "must end before /api/v2 and hold no credentials"),
    org: z.string().min(1),
    bucket: z.string().min(1),
    token: z.string().regex(tokenText, "must be one word").optional(),
    /** Path of a file with the token in it, relative to the configuration's folder. */
    tokenFile: z.string().min(1).optional(),
    /** Who writes, as tag `instance`; two services of one kind need different ones. Without it, the host's name. */
    instance: z.string().min(1).optional(),
    /** For a token that goes beyond this machine by `http:` all the same. */
    withoutTls: tlsShape.withoutTls,
    flushMs: z.number().int().min(10).max(60_000).default(1000),
    spoolBytes: z
      .number()
      .int()
      .min(64 * 1024)
      .max(1 << 30)
      .default(16 * 1024 * 1024),
    /** How often the service writes its own figures. */
    figuresMs: z.number().int().min(100).max(3_600_000).default(10_000),
  })
  .refine(({ token, tokenFile }) => token === undefined || tokenFile === undefined, "token and tokenFile exclude each other");

/** Sections of every service's configuration; both are off unless given. */
export const monitoringShape = { health: HealthSettings.optional(), timeSeries: TimeSeriesSettings.optional() };

/** Environment variables that go before the file. */
export const monitoringEnvNames = {
  "health.host": "SMILE_HEALTH_HOST",
  "health.port": "SMILE_HEALTH_PORT",
  "health.tls.certificate": "SMILE_HEALTH_TLS_CERTIFICATE",
  "health.tls.key": "SMILE_HEALTH_TLS_KEY",
  "health.tls.authority": "SMILE_HEALTH_TLS_AUTHORITY",
  "health.withoutTls": "SMILE_HEALTH_WITHOUT_TLS",
  "timeSeries.url": "SMILE_TIME_SERIES_URL",
  "timeSeries.org": "SMILE_TIME_SERIES_ORG",
  "timeSeries.bucket": "SMILE_TIME_SERIES_BUCKET",
  "timeSeries.token": "SMILE_TIME_SERIES_TOKEN",
  "timeSeries.tokenFile": "SMILE_TIME_SERIES_TOKEN_FILE",
  "timeSeries.instance": "SMILE_TIME_SERIES_INSTANCE",
  "timeSeries.withoutTls": "SMILE_TIME_SERIES_WITHOUT_TLS",
} as const;

/** Lines on these sections for a command's help. */
export const monitoringHelp = `                 health {host 127.0.0.1, port, tls {certificate, key, authority}, withoutTls}: serves /healthz, /readyz
                 and /metrics; off without it;
                 timeSeries {url, org, bucket, token or tokenFile, instance, flushMs 1000, spoolBytes 16777216,
                 figuresMs 10000, withoutTls}: writes to InfluxDB 2 or VictoriaMetrics; off without it`;

export type MonitoringSettings = {
  readonly health?: z.output<typeof HealthSettings> | undefined;
  readonly timeSeries?: z.output<typeof TimeSeriesSettings> | undefined;
};

/**
 * The token of the time-series database; undefined where none is configured.
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED naming the file, never what is in it
 */
export function readToken({ token, tokenFile }: NonNullable<MonitoringSettings["timeSeries"]>, folder: string): string | undefined {
  if (tokenFile === undefined) return token;
  const path = resolve(folder, tokenFile);
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new PipelineError("FILE_MISSING", `timeSeries.tokenFile: ${path} cannot be read`, { path }, error);
  }
  if (!tokenText.test(text)) throw new PipelineError("FILE_DAMAGED", `timeSeries.tokenFile: ${path} holds no token of one word`, { path });
  return text;
}
