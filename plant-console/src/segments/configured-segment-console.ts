import type { FilePlantRegistry } from "@smile/runtime/plant-registry";
import { schedule } from "node-cron";
import { openConsoleFiles, type Surroundings } from "../console-files.ts";
import type { SegmentConsoleConfig } from "./config.ts";
import { JobStore } from "./job-store.ts";
import { endRetention } from "./retention.ts";
import { type SegmentConsole, startSegmentConsole } from "./segment-console.ts";
import { readSegmentDocuments } from "./segment-files.ts";
import { SegmentReader } from "./segment-reader.ts";

export type ConfiguredSegmentConsole = SegmentConsole & { readonly jobs: JobStore; readonly registry: FilePlantRegistry };

/** When whose retention has ended is looked for: daily, when few are at work. */
const DAILY = "17 3 * * *";

/**
 * Starts a console of jobs from its files, and ends retentions at once and daily. Register, service document, keystore and TLS files are
 * read again when they change. Disposing stops the console, then closes store and keys.
 * @throws {PipelineError} naming the file or field that is wrong
 */
export async function startConfiguredSegmentConsole(
  config: SegmentConsoleConfig,
  options: Surroundings & { readonly onStored?: () => void },
): Promise<ConfiguredSegmentConsole> {
  const { logger, env, onStored, now = Date.now } = options;
  const { plant, people, resendMs } = config;
  const { deployment } = readSegmentDocuments(config, env);
  await using opened = new AsyncDisposableStack();
  const what = { deployment, kind: "jobs", actor: `segment-console ${plant}` } as const;
  const { audit, registry, keys, openLink, trust, reread } = opened.use(await openConsoleFiles(config, what, options));
  const jobs = opened.use(new JobStore({ path: config.store, plant }));
  const retire = () => {
    const { jobIds, forgotten } = endRetention({ jobs, people, audit }, config, now());
    if (jobIds.length + forgotten > 0) logger.info({ plant, jobs: jobIds.length, forgotten }, "retention ended");
  };
  retire();
  const daily = schedule(DAILY, () => {
    try {
      retire();
    } catch (error) {
      logger.error({ err: error, plant }, "what has to be deleted could not be; trying again tomorrow");
    }
  });
  opened.defer(() => daily.destroy());
  const console = opened.use(
    startSegmentConsole({
      ...{ plant, jobs, keys, trust, reread, openLink, logger, resendMs, now },
      reader: new SegmentReader({ plant, deployment, keys }),
      ...(onStored && { onStored }),
    }),
  );
  audit.append("console-started", { plant, serial: registry.find(plant)!.register.serial });
  const owned = opened.move();
  return { ...console, jobs, registry, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
