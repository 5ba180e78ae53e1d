import { readKeystore } from "@smile/custody/keystore";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { Environment } from "@smile/runtime/config";
import { readDeployment } from "@smile/runtime/document-file";
import { openLog } from "@smile/runtime/log-config";
import type { Logger } from "@smile/runtime/logging";
import type { Deployment } from "@smile/schemas/documents";
import { type ConsoleConfig, readLeases } from "./config.ts";
import { openDecryptionKeys, toSecretKeys } from "./decryption-keys.ts";
import type { StoredGap } from "./gap-table.ts";
import { logScoreLink } from "./log-score-link.ts";
import { mqttScoreLink } from "./score-link.ts";
import { type PlantConsole, startPlantConsole } from "./service.ts";
import { type AlertEvent, RiskStore, type StoredRisk } from "./store.ts";

export type ConfiguredConsole = PlantConsole & { readonly store: RiskStore; readonly deployment: Deployment };

/** What the listeners of a console that was started from its files are told, with the deployment whose cards explain it. */
export type ConsoleListeners = {
  readonly onRisk?: (risk: StoredRisk, deployment: Deployment) => void;
  readonly onAlert?: (event: AlertEvent, deployment: Deployment) => void;
  readonly onGap?: (gap: StoredGap, deployment: Deployment) => void;
};

/**
 * Starts a console from its files: documents, keystore, store. Disposing stops the console, then closes the store and the keys.
 * @throws {PipelineError} naming the file or field that is wrong; CONFIG_INVALID when the keystore is another plant's
 */
export async function startConfiguredConsole(
  config: ConsoleConfig,
  { logger, env, onRisk, onAlert, onGap }: ConsoleListeners & { readonly logger: Logger; readonly env: Environment },
): Promise<ConfiguredConsole> {
  const deployment = readDeployment(config.deployment, env);
  const leases = readLeases(config.leases);
  const keystore = readKeystore(config.keystore);
  if (keystore.plant !== config.plant) {
    throw new PipelineError("CONFIG_INVALID", `keystore: ${config.keystore} holds keys of plant ${keystore.plant}, not ${config.plant}`);
  }
  await using opened = new AsyncDisposableStack();
  const { keys } = opened.use(await openDecryptionKeys(deployment, toSecretKeys(keystore)));
  const store = opened.use(new RiskStore({ path: config.store, plant: config.plant, retainRisks: config.retainRisks }));
  const openLink =
    config.mqtt === undefined
      ? logScoreLink({ log: opened.use(await openLog(config.log!, "", `${config.plant}-console`, logger)), plant: config.plant, logger })
      : mqttScoreLink({ ...config.mqtt, plant: config.plant, logger });
  const console = opened.use(
    await startPlantConsole({
      plant: config.plant,
      deployment,
      keys,
      leases,
      store,
      openLink,
      logger,
      batchDeliveries: config.batch.deliveries,
      batchWaitMs: config.batch.waitMs,
      resendMs: config.resendMs,
      ...(onRisk && { onRisk: (risk) => onRisk(risk, deployment) }),
      ...(onGap && { onGap: (gap) => onGap(gap, deployment) }),
      ...(onAlert && { onAlert: (event) => onAlert(event, deployment) }),
    }),
  );
  const owned = opened.move();
  return { ...console, store, deployment, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
