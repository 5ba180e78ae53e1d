import { PipelineError } from "@smile/errors/pipeline-error";
import type { Logger } from "@smile/runtime/logging";
import cron from "node-cron";

export type CronOptions = {
  /** Five fields, or six with seconds first: "0 6 * * 1" is Mondays at six. */
  readonly expression: string;
  /** IANA name; default that of the machine. */
  readonly timezone?: string | undefined;
  readonly logger: Logger;
};

/** @throws {PipelineError} CONFIG_INVALID for an expression or a time zone that there is not */
export function checkCron({ expression, timezone }: Omit<CronOptions, "logger">): void {
  if (!cron.validate(expression)) {
    throw new PipelineError("CONFIG_INVALID", `cron: ${JSON.stringify(expression)} is no cron expression, such as "0 6 * * 1"`, {});
  }
  if (timezone === undefined) return;
  try {
    new Intl.DateTimeFormat("en", { timeZone: timezone });
  } catch {
    throw new PipelineError("CONFIG_INVALID", `timezone: ${JSON.stringify(timezone)} is no time zone, such as "Europe/Berlin"`, {});
  }
}

/** Calls `onTick` at the times of a cron expression until disposed of. @throws {PipelineError} as `checkCron` */
export function cronTicks({ expression, timezone, logger }: CronOptions, onTick: () => void): Disposable {
  checkCron({ expression, timezone });
  const told = {
    info: (message: string) => logger.info({}, message),
    warn: (message: string) => logger.warn({}, message),
    error: (message: string | Error) => logger.error({ err: message }, "the schedule failed"),
    debug: () => {},
  };
  const task = cron.schedule(expression, onTick, { ...(timezone !== undefined && { timezone }), logger: told });
  return { [Symbol.dispose]: () => void task.destroy() };
}
