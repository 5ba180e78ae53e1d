import type { Logger } from "@smile/runtime/logging";
import { type BrokerTls, openBrokerTls } from "../broker-tls.ts";
import { JobSource } from "./job-source.ts";
import { type ConfiguredSource, configuredSource, type SourceSettings } from "./source-config.ts";

export type OpenSource = AsyncDisposable & {
  readonly source: JobSource;
  readonly configured: ConfiguredSource;
  /** undefined without certificates. */
  readonly tls: BrokerTls | undefined;
};

/**
 * Opens the source that a configuration asks for; nothing is connected before there is a job.
 * @throws {PipelineError} as `configuredSource`, `openBrokerTls` and `JobSource`
 */
export function openSource(
  settings: SourceSettings,
  { folder, env, logger }: { readonly folder: string; readonly env: Parameters<typeof configuredSource>[2]; readonly logger: Logger },
): OpenSource {
  const configured = configuredSource(settings, folder, env);
  using opened = new DisposableStack();
  let tls: BrokerTls | undefined;
  if (settings.tls !== undefined) {
    const part = logger.child({ part: "tls" });
    tls = opened.use(openBrokerTls({ settings: settings.tls, folder, authority: configured.brokerAuthority, logger: part }));
  }
  const source = opened.use(new JobSource(configured, { logger, tls }));
  const owned = opened.move();
  return { source, configured, tls, [Symbol.asyncDispose]: async () => owned.dispose() };
}
