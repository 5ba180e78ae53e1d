import { readDeployment } from "@smile/runtime/document-file";
import type { FilePlantRegistry } from "@smile/runtime/plant-registry";
import type { Deployment } from "@smile/schemas/documents";
import { type ConsoleConfig, readLeases } from "./config.ts";
import { openConsoleFiles, type Surroundings } from "./console-files.ts";
import type { StoredGap } from "./gap-table.ts";
import { type PlantConsole, startPlantConsole } from "./service.ts";
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

/**
 * Starts a console from its files: documents, register, keystore, store. Register, service document, keystore and TLS files are read
 * again when they change. Disposing stops the console, then closes the store and the keys.
 * @throws {PipelineError} naming the file or field that is wrong; CONFIG_INVALID when the keystore or register is another plant's
 */
export async function startConfiguredConsole(config: ConsoleConfig, options: ConsoleListeners & Surroundings): Promise<ConfiguredConsole> {
  const { logger, onRisk, onAlert, onGap, now } = options;
  const { plant } = config;
  const deployment = readDeployment(config.deployment, options.env);
  const leases = readLeases(config.leases);
  await using opened = new AsyncDisposableStack();
  const what = { deployment, kind: "streams", actor: `plant-console ${plant}` } as const;
  const { audit, registry, keys, openLink, trust, reread } = opened.use(await openConsoleFiles(config, what, options));
  const store = opened.use(new RiskStore({ path: config.store, plant, retainRisks: config.retainRisks }));
  const console = opened.use(
    await startPlantConsole({
      ...{ plant, deployment, keys, trust, reread, leases, store, openLink, logger },
      batchDeliveries: config.batch.deliveries,
      batchWaitMs: config.batch.waitMs,
      resendMs: config.resendMs,
      ...(now && { now }),
      ...(onRisk && { onRisk: (risk) => onRisk(risk, deployment) }),
      ...(onGap && { onGap: (gap) => onGap(gap, deployment) }),
      ...(onAlert && { onAlert: (event) => onAlert(event, deployment) }),
    }),
  );
  audit.append("console-started", { plant, serial: registry.find(plant)!.register.serial });
  const owned = opened.move();
  return { ...console, store, deployment, registry, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
