import { passphraseFrom } from "@smile/custody/passphrase";
import { PipelineError } from "@smile/errors/pipeline-error";
import { openAuditLog, silentAudit } from "@smile/runtime/audit-log";
import type { Environment } from "@smile/runtime/config";
import { readDeployment } from "@smile/runtime/document-file";
import { openLog } from "@smile/runtime/log-config";
import type { Logger } from "@smile/runtime/logging";
import { type FilePlantRegistry, openPlantRegistry } from "@smile/runtime/plant-registry";
import { type TlsSource, watchTlsFiles } from "@smile/runtime/tls-files";
import type { Deployment } from "@smile/schemas/documents";
import { type ConsoleConfig, readLeases } from "./config.ts";
import type { StoredGap } from "./gap-table.ts";
import { KeystoreKeys } from "./keystore-keys.ts";
import { logScoreLink } from "./log-score-link.ts";
import { mqttScoreLink, type OpenScoreLink } from "./score-link.ts";
import { type PlantConsole, startPlantConsole } from "./service.ts";
import { ServiceFile } from "./service-file.ts";
import { type AlertEvent, RiskStore, type StoredRisk } from "./store.ts";

export type ConfiguredConsole = PlantConsole & {
  readonly store: RiskStore;
  readonly deployment: Deployment;
  readonly registry: FilePlantRegistry;
};

/** What the listeners of a console that was started from its files are told, with the deployment whose cards explain it. */
export type ConsoleListeners = {
  readonly onRisk?: (risk: StoredRisk, deployment: Deployment) => void;
  readonly onAlert?: (event: AlertEvent, deployment: Deployment) => void;
  readonly onGap?: (gap: StoredGap, deployment: Deployment) => void;
};

/** TLS files change before they have to, and are read to be looked at: once in so many looks at the others. */
const TLS_LOOKS = 5;

type Surroundings = {
  readonly logger: Logger;
  readonly env: Environment;
  /** Between two looks at the files that may change; default 1 s. */
  readonly pollMs?: number;
  /** Milliseconds since 1970; default Date.now. */
  readonly now?: () => number;
};

/**
 * Starts a console from its files: documents, register, keystore, store. Register, service document, keystore and TLS files are read
 * again when they change. Disposing stops the console, then closes the store and the keys.
 * @throws {PipelineError} naming the file or field that is wrong; CONFIG_INVALID when the keystore or register is another plant's
 */
export async function startConfiguredConsole(config: ConsoleConfig, options: ConsoleListeners & Surroundings): Promise<ConfiguredConsole> {
  const { logger, env, onRisk, onAlert, onGap, pollMs = 1000, now } = options;
  const { plant } = config;
  const deployment = readDeployment(config.deployment, env);
  const leases = readLeases(config.leases);
  await using opened = new AsyncDisposableStack();
  const actor = `plant-console ${plant}`;
  const audit =
    config.audit === undefined ? silentAudit : opened.use(openAuditLog({ path: config.audit, actor, ...(now && { clock: now }) }));
  const { register, identity } = config;
  const registry = opened.use(openPlantRegistry({ plants: [{ register, identity }], folder: config.folder, logger, audit, pollMs }));
  if (registry.find(plant) === undefined)
    throw new PipelineError("CONFIG_INVALID", `register: ${register} is plant ${registry.plants[0]!.plant}'s, not ${plant}'s`);
  const service = new ServiceFile({ path: config.service, logger, audit });
  // A variable that names a file means the folder where the program was started, as for `smile plant`, and wins as all of them do.
  const passphrase = () => passphraseFrom({ env, file: env.SMILE_PASSPHRASE_FILE ? undefined : config.passphraseFile });
  const keys = opened.use(
    await KeystoreKeys.open({ path: config.keystore, plant, deployment, passphrase, logger, audit, ...(now && { now }) }),
  );
  const store = opened.use(new RiskStore({ path: config.store, plant, retainRisks: config.retainRisks }));
  const reread = async () => {
    registry.refresh(plant);
    service.refresh();
    await keys.refresh();
  };
  const console = opened.use(
    await startPlantConsole({
      plant,
      deployment,
      keys,
      trust: () => ({ plant: registry.find(plant)!, scoreSigners: service.scoreSigners }),
      reread,
      leases,
      store,
      openLink: await openLinkOf(config, service, { logger, env, pollMs, opened }),
      logger,
      batchDeliveries: config.batch.deliveries,
      batchWaitMs: config.batch.waitMs,
      resendMs: config.resendMs,
      ...(now && { now }),
      ...(onRisk && { onRisk: (risk) => onRisk(risk, deployment) }),
      ...(onGap && { onGap: (gap) => onGap(gap, deployment) }),
      ...(onAlert && { onAlert: (event) => onAlert(event, deployment) }),
    }),
  );
  const looking = setInterval(() => void reread(), pollMs).unref();
  opened.defer(() => clearInterval(looking));
  audit.append("console-started", { plant, serial: registry.find(plant)!.register.serial });
  const owned = opened.move();
  return { ...console, store, deployment, registry, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function openLinkOf(
  config: ConsoleConfig,
  service: ServiceFile,
  { logger, env, pollMs, opened }: { logger: Logger; env: Environment; pollMs: number; opened: AsyncDisposableStack },
): Promise<OpenScoreLink> {
  const { plant, mqtt, tls: settings, withoutTls, folder } = config;
  if (mqtt === undefined) {
    const log = opened.use(await openLog(config.log!, folder, `${plant}-console`, logger, env));
    return logScoreLink({ log, plant, logger });
  }
  const tls = settings && withAuthorityOf(service, opened.use(watchTlsFiles({ settings, folder, logger, everyMs: TLS_LOOKS * pollMs })));
  return mqttScoreLink({ ...mqtt, plant, logger, tls, withoutTls });
}

/** The brokers' authority is in the service document, unless the configuration names another. */
function withAuthorityOf(service: ServiceFile, files: TlsSource): TlsSource {
  return {
    get current() {
      const { certificateAuthority } = service.document;
      return certificateAuthority === null ? files.current : { authority: certificateAuthority, ...files.current };
    },
    onChange(listener) {
      files.onChange(listener);
      service.onChange(listener);
    },
  };
}
