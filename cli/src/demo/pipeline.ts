import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createKeystore, gatewayKeys, publicKeys } from "@smile/custody/keystore";
import { openMqttFrameSender } from "@smile/edge-agent/mqtt-frame-sender";
import { RowQueue } from "@smile/edge-agent/row-queue";
import { type EdgeAgent, startEdgeAgent } from "@smile/edge-agent/service";
import type { Deployed } from "@smile/model-service/deploy";
import { type ModelService, startModelService } from "@smile/model-service/service";
import { openDecryptionKeys, toSecretKeys } from "@smile/plant-console/decryption-keys";
import { mqttScoreLink } from "@smile/plant-console/score-link";
import { type PlantConsole, startPlantConsole } from "@smile/plant-console/service";
import { type AlertEvent, RiskStore, type StoredRisk } from "@smile/plant-console/store";
import { type EmbeddedLog, openEmbeddedLog } from "@smile/runtime/embedded-log";
import type { Logger } from "@smile/runtime/logging";
import { fixedTls } from "@smile/runtime/tls-files";
import type { Deployment, Lease } from "@smile/schemas/documents";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { type StreamProcessor, startStreamProcessor } from "@smile/stream-processor/service";
import { makeCredentials } from "./credentials.ts";
import type { KnownWindow } from "./journal.ts";

export type PipelineOptions = {
  readonly plant: string;
  readonly deployed: Deployed;
  readonly gateways: readonly { readonly gateway: string; readonly machines: readonly string[] }[];
  /** Log, spools and the console's store go here. */
  readonly folder: string;
  readonly logger: Logger;
  readonly onWindow: (known: KnownWindow) => void;
  readonly onRisk: (risk: StoredRisk) => void;
  readonly onAlert: (event: AlertEvent) => void;
};

/** Every service in this process, joined by MQTT with mutual TLS over loopback and one embedded log. */
export type Pipeline = AsyncDisposable & {
  readonly deployment: Deployment;
  readonly log: EmbeddedLog;
  readonly processor: StreamProcessor;
  readonly models: ModelService;
  readonly console: PlantConsole;
  readonly store: RiskStore;
  readonly agents: readonly { readonly agent: EdgeAgent; readonly queue: RowQueue; readonly machines: ReadonlySet<string> }[];
  /** Rejects with whatever ends one of the services. */
  readonly failed: Promise<never>;
};

export async function startPipeline(options: PipelineOptions): Promise<Pipeline> {
  const { plant, deployed, folder, logger } = options;
  const { deployment, heads, plan } = deployed;
  const params = paramsFromDocument(deployment.params);
  mkdirSync(folder, { recursive: true });
  const keystore = await createKeystore(
    plant,
    params,
    deployment.keyMode,
    options.gateways.map(({ gateway }) => gateway),
    Date.now(),
  );
  const leases = leaseLanes(options.gateways);
  const { registry, server, scoreKeys, ...own } = await makeCredentials(plant, leases, keystore);
  const listen = { host: "127.0.0.1", port: 0, tls: fixedTls(server) };

  // Disposed from the last to the first: gateways, then the console, then the service's side, then the log.
  await using opened = new AsyncDisposableStack();
  const child = (service: string) => logger.child({ service });
  const log = opened.use(await openEmbeddedLog({ path: join(folder, "log.db"), logger: child("log") }));
  const processor = opened.use(
    await startStreamProcessor({
      log,
      logger: child("stream-processor"),
      deployments: [deployment],
      plants: registry,
      frames: listen,
      scores: listen,
      limits: { lingerMs: 20, openPerKind: 4 },
      partitions: 4,
    }),
  );
  const models = opened.use(
    await startModelService({
      log,
      logger: child("model-service"),
      deployments: [{ deployment, heads, modelPrivacy: plan.modelPrivacy }],
      plants: registry,
      signingKey: scoreKeys.privateKey,
      partitions: 4,
    }),
  );
  const store = opened.use(new RiskStore({ path: join(folder, "console.db"), plant }));
  const keys = opened.use(await openDecryptionKeys(deployment, toSecretKeys(keystore)));
  const trust = { plant: registry.find(plant)!, scoreSigners: [scoreKeys.publicKey] };
  const console = opened.use(
    await startPlantConsole({
      plant,
      deployment,
      keys,
      trust: () => trust,
      leases,
      store,
      openLink: mqttScoreLink({ url: processor.scoresUrl, plant, logger: child("plant-console"), tls: fixedTls(own.console) }),
      logger: child("plant-console"),
      onRisk: options.onRisk,
      onAlert: options.onAlert,
    }),
  );
  const agents = [];
  for (const lease of leases) {
    const queue = new RowQueue({ capacity: 4 * lease.machines.length });
    const { gateway } = lease;
    const { signingKey, tls } = own.gateways.get(gateway)!;
    const secret = gatewayKeys(keystore).find((key) => key.gateway === gateway);
    const [shared] = publicKeys(keystore);
    const key =
      secret === undefined
        ? { keyId: shared!.keyId, bytes: Buffer.from(shared!.publicKey, "base64") }
        : { keyId: secret.keyId, bytes: Buffer.from(secret.secretKey, "base64") };
    const agent = opened.use(
      await startEdgeAgent(
        {
          plant,
          gateway,
          deployment,
          lease,
          key: { keyId: key.keyId, bytes: new Uint8Array(key.bytes) },
          signingKey,
          storePath: join(folder, `${gateway}.db`),
          lingerMs: 20,
        },
        {
          source: queue,
          openSender: async () =>
            openMqttFrameSender({ url: processor.framesUrl, plant, gateway, logger: child("edge-agent"), tls: fixedTls(tls) }),
        },
        child("edge-agent"),
        { onWindow: (window, frameId, lane, block) => options.onWindow({ window, frameId, lane, block }) },
      ),
    );
    agents.push({ agent, queue, machines: new Set(lease.machines) });
  }
  const failed = Promise.race([processor, models, console, ...agents.map(({ agent }) => agent)].map(failureOf));
  failed.catch(() => {}); // whoever awaits it sees the error
  const owned = opened.move();
  return { deployment, log, processor, models, console, store, agents, failed, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Consecutive lanes for each gateway, so that small gateways stand side by side in one ciphertext. */
function leaseLanes(gateways: PipelineOptions["gateways"]): Lease[] {
  let firstLane = 0;
  return gateways.map(({ gateway, machines }) => {
    const lease = { gateway, firstLane, machines: [...machines] };
    firstLane += machines.length;
    return lease;
  });
}

function failureOf({ done }: { readonly done: Promise<void> }): Promise<never> {
  return done.then(() => new Promise<never>(() => {}));
}
