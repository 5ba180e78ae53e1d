import { type DestinationStream, destination, type Logger, pino } from "pino";
import { z } from "zod";

export type { Logger };

/** How much a service logs: the key `logLevel` of its configuration. */
export const LogLevel = z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"]);
export type LogLevel = z.infer<typeof LogLevel>;

/** Names whose value never reaches a log line, at the top of a line's fields or up to two levels deep. */
const secrets = ["secretKey", "privateKey", "identityKey", "passphrase", "seed", "password", "token", "authorization"];
/** Names that are a secret as data but harmless as a count: `{ windows: 32 }` is kept, `{ windows: [[1, 2]] }` is not. */
const measurements = [
  "window",
  "windows",
  "row",
  "rows",
  "values",
  "features",
  "score",
  "scores",
  "risk",
  "risks",
  "payload",
  "ciphertext",
];
/** One value of these is a decrypted result even as a bare number. */
const results = new Set(["score", "risk"]);

const redacted = [...secrets, ...measurements].flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);

function censor(value: unknown, path: string[]): unknown {
  const name = path.at(-1) ?? "";
  const isCount = typeof value === "number" && measurements.includes(name) && !results.has(name);
  return isCount ? value : "[redacted]";
}

/**
 * The logger that a `main.ts` makes once and passes down; parts of a service use `logger.child({ part: "..." })`.
 * One JSON line per event on standard error, so that standard output stays free for what a command prints.
 * @param options.service name on every line
 * @param options.level lines below it are not written; default `info`
 * @param options.to where lines go; default standard error, written synchronously so that the last words of a dying process arrive
 */
export function createLogger(options: { service: string; level?: LogLevel; to?: DestinationStream }): Logger {
  return pino(
    {
      level: options.level ?? "info",
      base: { service: options.service },
      redact: { paths: redacted, censor },
    },
    options.to ?? destination({ dest: 2, sync: true }),
  );
}

/** A logger that writes nothing, for tests. */
export function silentLogger(): Logger {
  return pino({ level: "silent" });
}
