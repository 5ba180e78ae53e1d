import { readDocument } from "@smile/runtime/document-file";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import { readJsonFile } from "@smile/runtime/json-file";
import type { Log, OutRecord } from "@smile/runtime/log";
import { FixedRegistry, openPlantRegistry } from "@smile/runtime/plant-registry";
import type { PlantsConfig } from "@smile/runtime/plants-config";
import { runServiceCommand } from "@smile/runtime/service-command";
import type { TlsSettings } from "@smile/runtime/tls-config";
import { watchTlsFiles } from "@smile/runtime/tls-files";
import { DeploymentDocument } from "@smile/schemas/documents";
import { startStreamProcessor } from "@smile/stream-processor/service";

/** The part of a stream processor's configuration that the harness writes. */
type Settings = {
  readonly log: { readonly path: string };
  readonly deployments: readonly string[];
  readonly plants: PlantsConfig;
  readonly frames: Listen;
  readonly scores: Listen;
};

type Listen = { readonly port: number; readonly tls?: TlsSettings };

/** Long enough that a kill finds something that was promised and is not there. */
const LATE_MS = 400;

/** What is wrong with a mutant. */
export type Defect = {
  /**
   * The log says that records of this topic are durable, and only then, a while later, makes them so: who is killed in between has
   * promised too much.
   */
  readonly promisesEarly?: string;
  /** Newer registers are taken and recorded, and never asked. */
  readonly keepsFirstRegister?: boolean;
};

/** Runs a stream processor that is broken on purpose. */
export async function runMutant({ promisesEarly, keepsFirstRegister }: Defect): Promise<never> {
  const command = {
    name: "stream-processor",
    summary: "Broken on purpose.",
    details: "",
    start: async ({ configFile, folder, logger: loggerAt }: Parameters<Parameters<typeof runServiceCommand>[0]["start"]>[0]) => {
      const settings = readJsonFile(configFile, "configuration") as Settings;
      const logger = loggerAt("info");
      await using opened = new AsyncDisposableStack();
      const log = opened.use(await openEmbeddedLog({ path: settings.log.path, logger }));
      const plants = opened.use(openPlantRegistry({ plants: settings.plants, folder, logger }));
      const listen = ({ port, tls }: Listen) => ({
        ...{ host: "127.0.0.1", port },
        tls: tls && opened.use(watchTlsFiles({ settings: tls, folder, logger })),
      });
      const service = opened.use(
        await startStreamProcessor({
          log: promisesEarly === undefined ? log : tooEarly(log, promisesEarly),
          logger,
          deployments: settings.deployments.map((path) => readDocument(DeploymentDocument, path, "deployment")),
          plants: keepsFirstRegister ? new FixedRegistry(plants.plants.map(({ register }) => register)) : plants,
          frames: listen(settings.frames),
          scores: listen(settings.scores),
          limits: { lingerMs: 20, openPerKind: 4 },
          partitions: 4,
        }),
      );
      const owned = opened.move();
      return { done: service.done, [Symbol.asyncDispose]: () => owned.disposeAsync() };
    },
  };
  process.exit(await runServiceCommand(command, process.argv.slice(2), process.env));
}

/** The log, but records of one topic are appended after they were said to be: in order, so that nothing but a crash tells. */
function tooEarly(log: Log, brokenTopic: string): Log {
  let last: Promise<unknown> = Promise.resolve();
  const appendLater = (records: readonly OutRecord[]) => {
    const copies = records.map((record) => ({ ...record, value: Uint8Array.from(record.value) }));
    const due = new Promise((resolve) => setTimeout(resolve, LATE_MS));
    last = last.then(() => due).then(() => log.append(copies));
  };
  return {
    ensureTopics: (topics) => log.ensureTopics(topics),
    append: async (records) => {
      if (!records.every(({ topic }) => topic === brokenTopic)) return await log.append(records);
      appendLater(records);
      return records.map(({ topic }) => ({ topic, partition: 0, offset: 0 }));
    },
    join: (group, topics) => log.join(group, topics),
    read: (from, limits, signal) => log.read(from, limits, signal),
    topicId: (topic) => log.topicId(topic),
    ends: (topic) => log.ends(topic),
    groupLag: (group, topic) => log.groupLag(group, topic),
    [Symbol.asyncDispose]: async () => {
      await last;
      await log[Symbol.asyncDispose]();
    },
  };
}
