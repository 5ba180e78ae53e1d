import type { KeyObject } from "node:crypto";
import { setTimeout as delay, setImmediate } from "node:timers/promises";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import { frameLength } from "@smile/he/wire";
import type { Service } from "@smile/runtime/lifecycle";
import type { Logger } from "@smile/runtime/logging";
import type { Deployment, Lease } from "@smile/schemas/documents";
import { frameCodec, gapCodec } from "@smile/schemas/envelopes";
import { type AgentCounters, zeroCounters } from "./counters.ts";
import { EnvelopeSealer, type EnvelopeVersions, type WindowKey } from "./envelope-sealer.ts";
import { frameFormat } from "./frame-format.ts";
import { laneMap } from "./lane-map.ts";
import { type DamagedStore, openEdgeStore } from "./open-store.ts";
import { type FrameSender, SpoolPublisher } from "./publisher.ts";
import type { RowSource } from "./source.ts";
import type { Dropped, SpoolBounds, SpoolDepth } from "./spool.ts";
import { defaultBounds } from "./store.ts";
import { unlessStopped } from "./unless-stopped.ts";
import { type PipelineHooks, WindowPipeline } from "./window-pipeline.ts";

export type EdgeAgentConfig = {
  readonly plant: string;
  readonly gateway: string;
  readonly deployment: Pick<Deployment, "featureSet" | "params" | "keyMode" | "lanes">;
  /** Which global lanes are this gateway's, and the machine behind each. */
  readonly lease: Pick<Lease, "firstLane" | "machines">;
  /** Public mode: the plant's public key. Symmetric mode: this gateway's secret key. */
  readonly key: WindowKey;
  /** The gateway's Ed25519 secret key: signs frames and gaps. */
  readonly signingKey: KeyObject;
  /** Versions of envelopes that the service reads; default the newest. */
  readonly versions?: EnvelopeVersions;
  /** The agent's database; its folder must exist. */
  readonly storePath: string;
  /** How long the first window of a frame waits for the others; default 1,000 ms. */
  readonly lingerMs?: number;
  /** Window ends that one block may have open; default 4. */
  readonly largestOpenEnds?: number;
  /** Rows without a sealed frame are made durable this often; default 1,000 ms. */
  readonly commitMs?: number;
  /** Frames under way to the broker at most; default 16. */
  readonly window?: number;
  /** Bytes of the largest envelope that the broker takes; default 128 KiB, what the embedded broker takes. */
  readonly largestEnvelopeBytes?: number;
  /** How much the spool keeps while the broker is away; default 256 MiB, and a week of the agent's running time. */
  readonly spoolBounds?: Partial<SpoolBounds>;
  /** Frames of a backlog that are sent per second, beside the live ones; default 200. */
  readonly backlogFramesPerSecond?: number;
  /** Before a failed commit or an unacknowledged frame is tried again; default 1,000 ms. */
  readonly retryMs?: number;
  /**
   * At the end of the source: `flush` (default) emits the windows still open in the lifts and seals everything, `seal` only seals what
   * was lifted, `keep` leaves both for the next start, as a stop does.
   */
  readonly atEnd?: "flush" | "seal" | "keep";
};

export type EdgeAgentPorts = {
  readonly source: RowSource;
  /**
   * Opened at the start. Disposing it ends every send one way or the other; a second time is harmless.
   * @param onConnected to be called each time a connection stands
   */
  readonly openSender: (onConnected: () => void) => Promise<FrameSender & AsyncDisposable>;
};

export type EdgeAgent = Service & {
  readonly counters: Readonly<AgentCounters>;
  /** First half of this agent's message ids. */
  readonly epoch: number;
  /** What waits for its acknowledgement. */
  readonly spool: SpoolDepth;
  /** Gaps that the plant has not heard of yet. */
  readonly gaps: number;
  /**
   * Encrypts under another key from the next frame on; frames in the spool stay as they are.
   * @throws {PipelineError} KEY_MISMATCH: the key before stays in force; STOPPED
   */
  useKey(key: WindowKey): Promise<void>;
  /** Signs with another key from the next frame on, and gaps that were not sent yet. */
  useSigningKey(key: KeyObject): void;
};

/** Frames sealed within one batch of rows before they are committed: bounds what is held in memory. */
const largestCommit = 16;
/** What an envelope adds to its ciphertext at most: hashes, names, ids, lane set, signature. */
const envelopeRoom = 1024;
/** The first so many refusals and drops are logged one by one, then every thousandth. */
const loggedRefusals = 10;

/**
 * Starts the agent of one gateway: rows in, encrypted frames out, durable in between. `done` resolves once the source has ended and
 * every frame is acknowledged; it rejects with what ended the work. Disposing commits what was taken and leaves unacknowledged frames
 * in the spool for the next start.
 * @throws {PipelineError} DOCUMENT_INVALID, KEY_MISMATCH, PLAN_REFUSED, CONFIG_INVALID, STORE_UNAVAILABLE, FILE_DAMAGED
 */
export async function startEdgeAgent(
  config: EdgeAgentConfig,
  ports: EdgeAgentPorts,
  log: Logger,
  hooks: Pick<PipelineHooks, "onWindow"> = {},
): Promise<EdgeAgent> {
  const { plant, gateway, deployment, key, signingKey } = config;
  const retryMs = config.retryMs ?? 1000;
  const commitMs = config.commitMs ?? 1000;
  const largestBytes = config.largestEnvelopeBytes ?? 1 << 17;
  const counters = zeroCounters();
  let drops = 0;
  const format = frameFormat(plant, deployment);
  const largestFrame = frameLength(format.params, deployment.keyMode) + envelopeRoom;
  if (largestFrame > largestBytes) {
    const what = `largestEnvelopeBytes is ${largestBytes}; this deployment's frames need ${largestFrame}`;
    throw new PipelineError("CONFIG_INVALID", what, { largestBytes, largestFrame });
  }
  const bounds = { ...defaultBounds, ...config.spoolBounds };
  const window = config.window ?? 16;
  const leastBytes = (window + largestCommit) * largestFrame;
  if (bounds.maxBytes < leastBytes) {
    const what = `spool.maxBytes is ${bounds.maxBytes}; what is under way and one commit need ${leastBytes}`;
    throw new PipelineError("CONFIG_INVALID", what, { field: "spool.maxBytes", leastBytes });
  }
  const places = laneMap(config.lease, format.lanes);

  await using opened = new AsyncDisposableStack();
  const versions = config.versions ?? { frame: frameCodec.versions.at(-1)!, gap: gapCodec.versions.at(-1)! };
  const sealer = opened.use(await EnvelopeSealer.open(format, { key, signingKey, versions }));
  const owner = { plant, gateway, featureSetId: format.kind.featureSetId };
  const store = opened.use(openEdgeStore(config.storePath, owner, { bounds, onDamaged: logDamage }));
  const released = store.releaseQuarantine(largestBytes);
  if (released > 0) log.info({ released }, "frames from quarantine get another chance");
  const pipeline = new WindowPipeline(
    {
      gateway,
      featureSet: deployment.featureSet,
      places,
      rule: { lingerMs: config.lingerMs ?? 1000, largestOpenEnds: config.largestOpenEnds ?? 4 },
      sealer,
      store,
      counters,
      now: Date.now,
      hooks: {
        ...hooks,
        onRefused: logRefusal,
        onDropped: logDrop,
        onForgotten: (machine) => log.warn({ machine }, "state of another lift: starts anew"),
      },
    },
    performance.now(),
  );
  if (counters.abandoned > 0) log.warn({ abandoned: counters.abandoned }, "open windows of machines that left the lease are given up");
  let publisher: SpoolPublisher | undefined;
  const sender = opened.use(await ports.openSender(() => publisher?.connected()));
  const rule = { window, largestBytes, retryMs, backlogFramesPerSecond: config.backlogFramesPerSecond ?? 200 };
  publisher = new SpoolPublisher({ spool: store, sealer, sender }, rule, counters, (sequence, err) =>
    log.error({ sequence, err }, "a frame cannot be published; it is kept in quarantine"),
  );

  const stopIntake = new AbortController();
  const stopPublishing = new AbortController();
  const ended = new AbortController();
  const batches = ports.source.batches(stopIntake.signal)[Symbol.asyncIterator]();
  const pumped = pump().then(() => ended.abort());
  const published = publisher.run(stopPublishing.signal, ended.signal);
  const done = Promise.all([pumped, published]).then(() => {});
  done.catch(() => {}); // whoever awaits `done` sees the error; until then it must not count as unhandled
  opened.defer(async () => {
    stopIntake.abort();
    await pumped.catch(() => {});
    batches.return?.().catch(() => {}); // not waited for: a source that hangs must not hold up the stop
    stopPublishing.abort();
    await published.catch(() => {});
    await sender[Symbol.asyncDispose](); // its last acknowledgements still find the store open
    await publisher.settled();
  });
  log.info({ gateway, epoch: store.epoch, machines: places.size, spooled: store.depth.frames }, "edge agent started");
  const owned = opened.move();
  return {
    done,
    counters,
    epoch: store.epoch,
    get spool() {
      return store.depth;
    },
    get gaps() {
      return store.gaps;
    },
    async useKey(next) {
      const from = sealer.keyId;
      await sealer.useKey(next);
      if (sealer.keyId !== from) log.info({ from, to: sealer.keyId }, "windows are encrypted under another key from here on");
    },
    useSigningKey: (next) => sealer.useSigningKey(next),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };

  async function pump(): Promise<void> {
    const stop = stopIntake.signal;
    /** Position behind the rows taken, and the monotonic time since which some of them are not durable. */
    let position: number | null = null;
    let dirtySinceMs: number | null = null;
    await commit();
    let next: ReturnType<typeof batches.next> | undefined;
    while (!stop.aborted) {
      next ??= batches.next(); // asked for only when what came before is taken, and where frames were sealed, durable
      const batch = await nextOrDue(next, dirtySinceMs, stop);
      if (batch === "stopped") break;
      if (batch !== "due") {
        if (batch.done) break;
        counters.refused.malformed += batch.value.malformed;
        await takeRows(batch.value.rows);
        position = batch.value.position;
        dirtySinceMs ??= performance.now();
        next = undefined;
      }
      pipeline.tick(performance.now());
      const late = dirtySinceMs !== null && performance.now() - dirtySinceMs >= commitMs;
      if (late || pipeline.sealedFrames > 0) await commitAndAck();
    }
    if (!stop.aborted && config.atEnd !== "keep") {
      if (config.atEnd !== "seal") pipeline.flush(performance.now());
      pipeline.sealAll();
    }
    await commitAndAck();
    next?.catch(() => {});

    async function commitAndAck(): Promise<void> {
      await commit();
      dirtySinceMs = null;
      if (position !== null) ports.source.ack(position);
      position = null;
    }
  }

  async function takeRows(rows: readonly Parameters<typeof pipeline.take>[0][]): Promise<void> {
    for (const row of rows) {
      pipeline.take(row, performance.now());
      if (pipeline.sealedFrames < largestCommit) continue;
      await commit();
      await setImmediate(); // acknowledgements and other agents of this process get their turn
    }
  }

  /** Waits for room on the disk rather than losing rows: meanwhile the source is not read. */
  async function commit(): Promise<void> {
    for (;;) {
      try {
        pipeline.commit();
        publisher?.wake();
        return;
      } catch (err) {
        if (!isPipelineError(err) || !err.retriable || stopIntake.signal.aborted) throw err;
        counters.commitRetries++;
        log.warn({ err }, "the store takes nothing; trying again");
        await delay(retryMs, undefined, { signal: stopIntake.signal }).catch(() => {}); // a stop ends it early
      }
    }
  }

  /** The next batch, or `due` once a linger or the time of a commit is over. */
  async function nextOrDue<T>(next: Promise<T>, dirtySinceMs: number | null, stop: AbortSignal): Promise<T | "due" | "stopped"> {
    const times = [pipeline.deadlineMs, dirtySinceMs === null ? null : dirtySinceMs + commitMs].filter((time) => time !== null);
    if (times.length === 0) return (await unlessStopped(next, stop)) ?? "stopped";
    const due = Promise.withResolvers<"due">();
    const timer = setTimeout(() => due.resolve("due"), Math.max(0, Math.min(...times) - performance.now()));
    try {
      return (await unlessStopped(Promise.race([next, due.promise]), stop)) ?? "stopped";
    } finally {
      clearTimeout(timer);
    }
  }

  function logDamage({ keptAs, error }: DamagedStore): void {
    counters.damagedStores++;
    log.error({ keptAs, err: error }, "THE STORE IS DAMAGED: frames in it that were not sent are lost; it is kept aside, a new one begins");
  }

  function logDrop(dropped: Dropped): void {
    drops++;
    if (drops > loggedRefusals && drops % 1000 !== 0) return;
    log.warn(
      { ...dropped, droppedFrames: counters.droppedFrames },
      "the spool is full: its oldest frames are dropped, and the plant is told",
    );
  }

  function logRefusal(refusal: { machine: string; reason: string; field: string }): void {
    const { unknownMachine, unusable } = counters.refused;
    const refused = unknownMachine + unusable;
    if (refused <= loggedRefusals || refused % 1000 === 0) log.warn({ ...refusal, refused }, "a row was refused");
  }
}
