import { resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { giveWay } from "@smile/runtime/give-way";
import { openMonitoring } from "@smile/runtime/monitoring";
import { monitoringHelp } from "@smile/runtime/monitoring-config";
import type { ServiceCommand } from "@smile/runtime/service-command";
import { checkCron, cronTicks } from "./cron-ticks.ts";
import { startJobSchedule } from "./job-schedule.ts";
import { openSource } from "./open-source.ts";
import { scheduleMetrics } from "./schedule-metrics.ts";
import { readSourceSettings } from "./source-config.ts";

/** `smile segment schedule` */
export const segmentScheduleCommand: ServiceCommand = {
  name: "segment schedule",
  summary: "Sends a file of records as an encrypted job at the times of a schedule, and goes on with what a crash left.",
  details: `                 plant; gateway; paths of deployment, key and signingKey; mapping: of the columns;
                 store: path of its database; people "people"; pseudonymKey "pseudonym-key.json"; audit "audit.db";
                 register (path) and identity (its hash): which keys may be used; service (path);
                 mqtt {url, window 16, largestEnvelopeBytes 131072}; tls {certificate, key, authority}; withoutTls;
                 logLevel info;
${monitoringHelp}
  --data FILE    CSV with a header, one record per person; read anew at each time
  --cron TEXT    when, such as "0 6 * * 1": Mondays at six
  --timezone     of these times, such as Europe/Berlin; default that of this machine
  --once-now     begins a job at the start, too

Example: smile segment schedule --config segment-source.json --data people.csv --cron "0 6 * * 1"`,
  options: { data: { type: "string" }, cron: { type: "string" }, timezone: { type: "string" }, "once-now": { type: "boolean" } },
  async start({ configFile, folder, env, logger: loggerAt, signal, values }) {
    giveWay();
    const settings = readSourceSettings(configFile, env);
    const [data, expression] = [required(values, "data"), required(values, "cron")];
    const timezone = values.timezone as string | undefined;
    checkCron({ expression, timezone });
    const logger = loggerAt(settings.logLevel);
    await using opened = new AsyncDisposableStack();
    const { plant, gateway } = settings;
    const tags = { plant, gateway };
    const monitoring = opened.use(await openMonitoring({ service: "segment-source", settings, folder, logger, tags, stopping: signal }));
    const { source, tls } = opened.use(openSource(settings, { folder, env, logger }));
    const schedule = opened.use(
      startJobSchedule({
        ...{ source, data: resolve(data), logger, atStart: values["once-now"] === true },
        ticks: (onTick) => cronTicks({ expression, timezone, logger: logger.child({ part: "cron" }) }, onTick),
      }),
    );
    monitoring.watch({
      done: schedule.done,
      conditions: () => (tls === undefined ? {} : { "certificate in force": Date.now() <= tls.endsMs }),
      metrics: scheduleMetrics(schedule),
    });
    logger.info({ cron: expression, timezone }, "the schedule stands");
    const owned = opened.move();
    return { done: schedule.done, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  },
};

function required(values: Readonly<Record<string, string | boolean | undefined>>, option: string): string {
  const value = values[option];
  if (typeof value !== "string") throw new PipelineError("CONFIG_INVALID", `--${option} is missing`, { option });
  return value;
}
