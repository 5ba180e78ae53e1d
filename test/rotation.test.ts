import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { openBrokerTls } from "@smile/edge-agent/broker-tls";
import { configuredAgent, readSettings } from "@smile/edge-agent/config";
import { encryptionKeyName, readKeys, signingKeyName, watchedKeys } from "@smile/edge-agent/key-files";
import { openMqttFrameSender } from "@smile/edge-agent/mqtt-frame-sender";
import { RowQueue } from "@smile/edge-agent/row-queue";
import { type EdgeAgent, startEdgeAgent } from "@smile/edge-agent/service";
import { WatchedFiles } from "@smile/edge-agent/watched-files";
import { certificateHash } from "@smile/identity/check-certificate";
import { type ModelService, startModelService } from "@smile/model-service/service";
import { loadConsoleConfig } from "@smile/plant-console/config";
import { type ConfiguredConsole, startConfiguredConsole } from "@smile/plant-console/configured-console";
import { readAudit, verifyAudit } from "@smile/runtime/audit-log";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import { readJsonFile, writeJsonFile } from "@smile/runtime/json-file";
import { silentLogger } from "@smile/runtime/logging";
import { openPlantRegistry } from "@smile/runtime/plant-registry";
import { PlantsConfig } from "@smile/runtime/plants-config";
import { readSigningKey } from "@smile/runtime/signing-key-file";
import { watchTlsFiles } from "@smile/runtime/tls-files";
import { verifyingKey } from "@smile/schemas/ed25519";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import { isPartSigned } from "@smile/schemas/signing";
import { type StreamProcessor, startStreamProcessor } from "@smile/stream-processor/service";
import { expect, it, vi } from "vitest";
import { ConsoleJournal } from "./faults/console-journal.ts";
import { laneKey } from "./faults/journals.ts";
import { frameEntry } from "./faults/log-journal.ts";
import { Parties } from "./faults/parties.ts";
import { freePort } from "./support/free-port.ts";
import { type SmallDeployment, smallDeployment, temporaryFolder } from "./support/small-deployment.ts";

const logger = silentLogger();
const PLANT = "essen";
const HOUR_MS = 3_600_000;
const PATIENCE_MS = 30_000;
/** Between two rows of each machine: two of them make a window. */
const PACE_MS = 8;
/** Of services and agents at the files that may change. */
const LOOK_MS = 20;
const gateways = ["hall-1", "hall-2"].map((gateway, i) => ({ gateway, machines: [0, 1, 2, 3].map((m) => `press-${4 * i + m}`) }));

const until = (holds: () => boolean) => vi.waitUntil(holds, { timeout: PATIENCE_MS, interval: 10 });

/** One frame that its gateway was told is safe, and how many rotations were over by then. */
type Acknowledged = { readonly frame: Frame; readonly rotations: number };

/** Everything of one plant and its operator in this process, from the files that their commands write, and what is known of each window. */
class Run implements AsyncDisposable {
  readonly #opened = new AsyncDisposableStack();
  readonly folder: string;
  readonly small: SmallDeployment;
  readonly parties: Parties;
  readonly agents: Agent[] = [];
  readonly acknowledged: Acknowledged[] = [];
  /** Score that each window must have, by its lane key. */
  readonly expected = new Map<string, number>();
  rotations = 0;
  /** What the console's clock is ahead. */
  aheadMs = 0;
  models!: ModelService;
  #brokers: StreamProcessor | undefined;
  #startBrokers!: () => Promise<StreamProcessor>;

  private constructor(folder: string, small: SmallDeployment, parties: Parties) {
    this.folder = folder;
    this.small = small;
    this.parties = parties;
  }

  static async start(keyMode: "public" | "symmetric"): Promise<Run> {
    await using opened = new AsyncDisposableStack();
    const folder = opened.use(temporaryFolder()).path;
    const small = opened.use(await smallDeployment({ scheme: "bgv", keyMode, gateways: [] }));
    const { deployment, heads } = small.deployed;
    const deploymentPath = join(folder, "deployment.json");
    writeJsonFile(deploymentPath, deployment);
    const frames = await freePort();
    let scores = await freePort();
    while (scores === frames) scores = await freePort();
    const parties = await Parties.make({
      ...{ folder, plant: PLANT, deployment: deploymentPath, gateways, tls: true },
      ...{ framesUrl: `mqtts://127.0.0.1:${frames}`, scoresUrl: `mqtts://127.0.0.1:${scores}` },
    });
    const run = new Run(folder, small, parties);
    const registryOf = (service: string) =>
      opened.use(openPlantRegistry({ plants: PlantsConfig.parse(parties.plantsOf(service)), folder, logger, pollMs: LOOK_MS }));
    const log = opened.use(await openEmbeddedLog({ path: join(folder, "log.db"), logger }));
    const services = { log, logger, partitions: 2 };
    const plants = registryOf("stream-processor");
    const tls = opened.use(watchTlsFiles({ settings: parties.brokerTls!, folder, logger, everyMs: LOOK_MS }));
    const listen = (port: number) => ({ host: "127.0.0.1", port, tls });
    run.#startBrokers = () =>
      startStreamProcessor({
        ...{ ...services, plants, deployments: [deployment], limits: { lingerMs: 5, openPerKind: 4 } },
        ...{ frames: listen(frames), scores: listen(scores) },
      });
    await run.brokersBack();
    opened.defer(() => run.brokersAway());
    run.models = opened.use(
      await startModelService({
        ...{ ...services, plants: registryOf("model-service"), signingKey: readSigningKey(parties.scoreSigningKey).key },
        ...{ deployments: [{ deployment, heads, modelPrivacy: "compact" as const }], pool: { threads: 1 } },
      }),
    );
    for (const { gateway, machines } of gateways) run.agents.push(opened.use(await Agent.start(run, gateway, machines)));
    run.#opened.use(opened.move());
    return run;
  }

  get brokers(): StreamProcessor {
    return this.#brokers!;
  }

  async brokersAway(): Promise<void> {
    await this.#brokers?.[Symbol.asyncDispose]();
    this.#brokers = undefined;
  }

  async brokersBack(): Promise<void> {
    this.#brokers = await this.#startBrokers();
  }

  /** @param store name of its file in the console's folder: a fresh one asks for every score from the first on */
  async startConsole(store: string): Promise<ConfiguredConsole & { readonly journal: ConsoleJournal }> {
    const written = join(this.parties.console, "plant-console.json");
    const file = join(this.parties.console, `${store}.json`);
    writeJsonFile(file, { ...(readJsonFile(written, "configuration") as object), store: `${store}.db`, resendMs: 200 });
    const now = () => Date.now() + this.aheadMs;
    const console = await startConfiguredConsole(loadConsoleConfig(file, {}), { logger, env: {}, pollMs: LOOK_MS, now });
    const journal = new ConsoleJournal(join(this.parties.console, `${store}.db`));
    const dispose = async () => {
      journal[Symbol.dispose]();
      await console[Symbol.asyncDispose]();
    };
    return { ...console, journal, [Symbol.asyncDispose]: dispose };
  }

  get actions(): string[] {
    return [...readAudit(this.auditPath)].map(({ action }) => action);
  }

  get auditPath(): string {
    return join(this.parties.folder, "audit.db");
  }

  /**
   * A new epoch of HE keys, then a new signing key and certificate for one gateway and the next time for the other: handed to the running
   * agents, which are waited for.
   * @returns ids of the new HE keys
   */
  async rotate(): Promise<readonly string[]> {
    const keyIds = await this.parties.rotateKeys(PATIENCE_MS, HOUR_MS);
    const renewed = this.rotations % gateways.length;
    await this.parties.renewGateway(gateways[renewed]!.gateway, PATIENCE_MS);
    this.rotations += 1;
    const credentials = (i: number) => Math.ceil((this.rotations - i) / gateways.length);
    await until(() => this.agents.every((agent, i) => agent.hasRenewed({ keys: this.rotations, credentials: credentials(i) })));
    return keyIds;
  }

  /** Resolves when each gateway, connected by its newest certificate, was told that a window under one of these keys and signed with its newest one is safe. */
  async inUse(keyIds: readonly string[]): Promise<void> {
    const signers = new Map(gateways.map(({ gateway }) => [gateway, verifyingKey(this.parties.signingKeyOf(gateway).publicKey)]));
    const isNew = (frame: Frame) => keyIds.includes(frame.keyId) && isPartSigned(frame, frame, [signers.get(frame.gateway)!]);
    const found = new Set<string>();
    let next = this.acknowledged.length;
    await until(() => {
      for (; next < this.acknowledged.length; next++) {
        const { frame } = this.acknowledged[next]!;
        if (!found.has(frame.gateway) && isNew(frame)) found.add(frame.gateway);
      }
      const isConnected = ({ certificate }: Agent, i: number) => certificate === this.certificateOf(gateways[i]!.gateway);
      return found.size === gateways.length && this.agents.every(isConnected);
    });
  }

  /** Hash of the certificate in a gateway's folder. */
  certificateOf(gateway: string): string {
    return certificateHash(this.parties.tlsOf(gateway)!.certificate);
  }

  /** Lane keys of the windows that gateways were told are safe. @param under ids of HE keys; default any */
  acknowledgedWindows(under?: readonly string[]): string[] {
    const { lanes } = this.small.deployed.deployment;
    return this.acknowledged
      .filter(({ frame }) => under?.includes(frame.keyId) ?? true)
      .flatMap(({ frame }) => frameEntry(frame, lanes).lanes.map((lane) => laneKey(frame, lane)));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }
}

/** Changes that an agent has put in force. */
type Renewals = { readonly key: number; readonly signingKey: number; readonly certificate: number };

/** The agent of one gateway as its command starts it from its folder, but that its rows come from here. */
class Agent implements AsyncDisposable {
  readonly #opened: AsyncDisposableStack;
  readonly #renewals: () => Renewals;
  readonly queue = new RowQueue({ capacity: 64 });
  readonly machines: readonly string[];
  agent!: EdgeAgent;
  /** Hash of the certificate that its connection stands by. */
  certificate = "";

  private constructor(machines: readonly string[], opened: AsyncDisposableStack, renewals: () => Renewals) {
    this.machines = machines;
    this.#opened = opened;
    this.#renewals = renewals;
  }

  static async start(run: Run, gateway: string, machines: readonly string[]): Promise<Agent> {
    await using opened = new AsyncDisposableStack();
    const folder = run.parties.gateway(gateway);
    const settings = readSettings(join(folder, "edge-agent.json"), {});
    const { config, keyFiles, brokerAuthority } = configuredAgent(settings, folder, {});
    const tls = opened.use(openBrokerTls({ settings: settings.tls!, folder, authority: brokerAuthority, logger }));
    const files = new WatchedFiles(
      watchedKeys(keyFiles, () => started.agent),
      logger,
    );
    const { [encryptionKeyName]: key, [signingKeyName]: signer } = files.reloads;
    const renewals = () => ({ key: key!.taken, signingKey: signer!.taken, certificate: tls.renewals });
    const own = new AsyncDisposableStack();
    const started = new Agent(machines, own, renewals);
    const openSender = async (onConnected: () => void) => {
      const sender = openMqttFrameSender({
        ...{ url: settings.mqtt.url, plant: PLANT, gateway, logger, tls, reconnectMs: { first: 20, last: 200 } },
        onConnected: () => {
          started.certificate = certificateHash(tls.current.certificate);
          onConnected();
        },
      });
      const send = async (envelope: Uint8Array, stop: AbortSignal) => {
        await sender.send(envelope, stop);
        run.acknowledged.push({ frame: frameCodec.decode(envelope), rotations: run.rotations });
      };
      return { send, [Symbol.asyncDispose]: () => sender[Symbol.asyncDispose]() };
    };
    const rule = { lingerMs: 50, retryMs: 20, atEnd: "flush" as const };
    started.agent = opened.use(
      await startEdgeAgent({ ...config, ...readKeys(keyFiles), ...rule }, { source: started.queue, openSender }, logger, {
        onWindow: ({ features }, { epoch, sequence }, lane, block) =>
          run.expected.set(laneKey({ gateway, epoch, sequence, block }, lane), run.small.score(features)),
      }),
    );
    opened.use(files.every(LOOK_MS));
    own.use(opened.move());
    return started;
  }

  /** Whether so many changes of its HE key, and of its signing key and certificate, are in force. */
  hasRenewed({ keys, credentials }: { readonly keys: number; readonly credentials: number }): boolean {
    const { key, signingKey, certificate } = this.#renewals();
    return key >= keys && signingKey >= credentials && certificate >= credentials;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }
}

/** The machines: a row of each at every step, until it is stopped. */
function feed(agents: readonly Agent[]): { stop(): Promise<void> } {
  let isOn = true;
  const run = async () => {
    for (let step = 0; isOn; step++) {
      const values = Object.fromEntries(["a", "b", "c", "d"].map((sensor, i) => [sensor, Math.sin(step * (i + 1))]));
      for (const { queue, machines } of agents) {
        for (const machine of machines) await queue.push({ machine, timeMs: 1_700_000_000_000 + 500 * step, values });
      }
      await delay(PACE_MS);
    }
    for (const { queue } of agents) queue.end();
  };
  const running = run();
  running.catch(() => {}); // whoever stops it sees the error
  return {
    stop: () => {
      isOn = false;
      return running;
    },
  };
}

it.each(["public", "symmetric"] as const)(
  "with %s keys, three rotations of HE keys, signing keys and certificates under load lose and double no window, and a destroyed key opens nothing",
  { timeout: 120_000 },
  async (keyMode) => {
    await using run = await Run.start(keyMode);
    const { parties, agents } = run;
    const epochs: (readonly string[])[] = [[...new Set(gateways.map(({ gateway }) => keyIdOf(parties.gateway(gateway), keyMode)))]];
    const certificates = gateways.map(({ gateway }) => run.certificateOf(gateway));
    let counts: Record<string, number>;
    {
      await using console = await run.startConsole("risks");
      const stored = () => {
        console.journal.read();
        return console.journal.risks;
      };
      const load = feed(agents);
      await until(() => stored().length >= 100);

      epochs.push(await run.rotate());
      await run.inUse(epochs[1]!);

      // The brokers are away: what is in the spools is of two epochs, and in one of them signed by two keys, when it is sent.
      await run.brokersAway();
      const spooled = () => Math.min(...agents.map(({ agent }) => agent.spool.frames));
      await until(() => spooled() >= 10);
      const ofOldKey = agents.reduce((sum, { agent }) => sum + agent.spool.frames, 0);
      epochs.push(await run.rotate());
      const before = spooled();
      await until(() => spooled() >= before + 10);
      await run.brokersBack();
      await run.inUse(epochs[2]!);

      await parties.renewServer();
      epochs.push(await run.rotate());
      await run.inUse(epochs[3]!);
      await load.stop();
      await Promise.all(agents.map(({ agent }) => agent.done));

      const windows = run.acknowledgedWindows();
      expect([...new Set(windows)].toSorted()).toEqual([...run.expected.keys()].toSorted());
      await until(() => stored().length >= run.expected.size);
      const seen = stored().map((risk) => laneKey(risk, risk.lane));
      const scores = new Map(stored().map((risk) => [laneKey(risk, risk.lane), risk.score]));
      const late = run.acknowledged.filter(({ frame, rotations }) => !epochs[rotations]!.includes(frame.keyId));
      counts = {
        rotations: run.rotations,
        windows: new Set(windows).size,
        risks: seen.length,
        lost: windows.filter((window) => !scores.has(window)).length,
        duplicated: seen.length - scores.size,
        wrong: [...run.expected].filter(([window, score]) => scores.get(window) !== score).length,
        framesLateUnderOldKey: late.length,
      };
      expect(counts).toMatchObject({ rotations: 3, lost: 0, duplicated: 0, wrong: 0 });
      // Those that lay in the spools, at least, came when another key had taken over.
      expect(late.length).toBeGreaterThanOrEqual(ofOldKey);
      expect(epochs.every((keyIds) => run.acknowledgedWindows(keyIds).length > 0)).toBe(true);
      expect(console.counters()).toMatchObject({ refused: {}, duplicates: expect.any(Number) });
      expect(run.brokers.counters.ingress.refused).toEqual({});
      for (const [i, { gateway }] of gateways.entries()) expect(run.certificateOf(gateway)).not.toBe(certificates[i]);

      // The retention of all keys but the newest is over.
      run.aheadMs = 2 * HOUR_MS;
      const old = epochs.slice(0, -1).flat().length;
      await until(() => run.actions.filter((action) => action === "key-destroyed").length === old);
      counts.keysDestroyed = old;
    }
    expect(verifyAudit(run.auditPath).entries).toBeGreaterThan(0);
    const destroyed = [...readAudit(run.auditPath)].filter(({ action }) => action === "key-destroyed");
    expect(destroyed.map(({ facts, actor }) => [facts.keyId, actor]).toSorted()).toEqual(
      epochs
        .slice(0, -1)
        .flatMap((keyIds) => keyIds.map((keyId) => [keyId, `plant-console ${PLANT}`]))
        .toSorted(),
    );

    // Asked for every score again, a console without what was stored opens those under the newest key, and refuses the others.
    const again = await run.startConsole("again");
    const readable = new Set(run.acknowledgedWindows(epochs.at(-1)!));
    const opened = new Set<string>();
    {
      await using console = again;
      await until(() => {
        for (const risk of console.journal.read()) opened.add(laneKey(risk, risk.lane));
        const { deliveries, repeatedDeliveries, earlyDeliveries } = console.counters();
        return opened.size >= readable.size && deliveries - repeatedDeliveries - earlyDeliveries >= run.models.counters.scores;
      });
    }
    expect([...opened].toSorted()).toEqual([...readable].toSorted());
    expect(again.counters().refused).toEqual({ KEY_UNKNOWN: expect.any(Number) });
    counts.scoresRefused = again.counters().refused.KEY_UNKNOWN!;
    process.stdout.write(`rotation under load, ${keyMode} keys: ${JSON.stringify(counts)}\n`);
  },
);

/** Id of the HE key in a gateway's folder. */
function keyIdOf(folder: string, keyMode: "public" | "symmetric"): string {
  const document = readJsonFile(join(folder, keyMode === "public" ? "public-key.json" : "gateway-key.json"), "key");
  return (document as { keyId: string }).keyId;
}
