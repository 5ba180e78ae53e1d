import { hash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { encodeLanes, packLanes } from "@smile/he/lanes";
import { silentLogger } from "@smile/runtime/logging";
import { type MqttConnection, openMqtt } from "@smile/runtime/mqtt-client";
import { fixedTls } from "@smile/runtime/tls-files";
import { type Frame, frameCodec, type Gap, gapCodec, type Part } from "@smile/schemas/envelopes";
import { signFrame, signGap } from "@smile/schemas/signing";
import { framesTopic } from "@smile/schemas/topics";
import { F } from "../support/small-deployment.ts";
import { type Gateway, LANES_PER_GATEWAY, type Party } from "./party.ts";
import type { World } from "./world.ts";

/** Sent frames that are kept whole, to be replayed and mutated. */
const KEPT_FRAMES = 60;
/** Frames that a gateway says were lost, at the beginning of each epoch. */
const DROPPED = 5;
const FIRST_TIME_MS = 1_790_000_000_000;

/** What names a window at the plant. */
export function windowId(part: { gateway: string; epoch: number; sequence: number }, lane: number): string {
  return `${part.gateway} ${part.epoch} ${part.sequence} ${lane}`;
}

/** What names a gap at the plant. */
export function gapId({
  gateway,
  epoch,
  fromSequence,
  toSequence,
}: Pick<Gap, "gateway" | "epoch" | "fromSequence" | "toSequence">): string {
  return `gap of ${gateway} ${epoch} from ${fromSequence} to ${toSequence}`;
}

/** What names a part together with the signature that only its gateway can have made. */
export function partId({ gateway, epoch, sequence, signature }: Part): string {
  return `${gateway} ${epoch} ${sequence} ${Buffer.from(signature).toString("hex")}`;
}

/** An unsigned frame of the gateway, well formed in every field, with its own ciphertext. */
export function sealFrame(
  { small, encryptors }: World,
  { plant, keyIds }: Party,
  { name, firstLane }: Gateway,
  place: { epoch: number; sequence: number },
  windows: readonly { readonly lane: number; readonly features: Int32Array }[],
): Omit<Frame, "signature"> {
  const { params, deployed, publicKey } = small;
  const ciphertext = encryptors.get(plant)!.encrypt(
    packLanes(
      windows.map(({ lane, features }) => ({ lane: firstLane + lane, features })),
      params.n,
      F,
    ),
  );
  return {
    plant,
    scheme: "bgv",
    keyMode: "public",
    paramsId: publicKey.paramsId,
    keyId: keyIds.active,
    featureSetId: deployed.deployment.cards[0]!.featureSetId,
    gateway: name,
    ...place,
    block: 0,
    lanes: encodeLanes(
      windows.map(({ lane }) => firstLane + lane),
      deployed.deployment.lanes,
    ),
    frameTimeMs: FIRST_TIME_MS + 1000 * place.sequence,
    closedAtMs: Date.now(),
    jobId: null,
    frameCount: null,
    ciphertextHash: hash("sha256", ciphertext),
    ciphertext,
  };
}

/**
 * A gateway as it should be, which sends good windows for as long as the run lasts, and knows what must become of each. Half-way it begins
 * a new epoch, as one does that lost its store.
 */
export class HonestGateway implements AsyncDisposable {
  readonly party: Party;
  readonly gateway: Gateway;
  readonly #world: World;
  readonly #connection: MqttConnection;
  readonly #stop = new AbortController();
  readonly #sending: Promise<void>;
  #epoch = 1;
  #sequence = 0;
  /** The integer score of each window that was sent, by `windowId`. */
  readonly expected = new Map<string, number>();
  /** SHA-256 of each envelope, as it went. */
  readonly envelopes = new Set<string>();
  /** By `partId`. */
  readonly parts = new Set<string>();
  /** Some that were acknowledged, the newest last; and some of the first epoch. */
  readonly recent: Frame[] = [];
  readonly first: Frame[] = [];
  /** Times that its connection stood: more than once where somebody threw it out. */
  connections = 0;
  /** What it says that it had to drop: SHA-256 of each envelope, and by `gapId`. */
  readonly gapEnvelopes = new Set<string>();
  readonly gaps = new Map<string, Gap>();

  /** @param everyMs between an acknowledgement and the next frame */
  constructor(world: World, party: Party, gateway: Gateway, everyMs: number) {
    this.#world = world;
    this.party = party;
    this.gateway = gateway;
    this.#connection = openMqtt({
      url: `mqtts://127.0.0.1:${world.ports.frames}`,
      clientId: `${gateway.name}-agent`,
      logger: silentLogger(),
      tls: fixedTls(gateway.tls),
      reconnectMs: { first: 50, last: 500 },
      onReady: () => {
        this.connections += 1;
      },
    });
    this.#sending = this.#send(everyMs);
    this.#sending.catch(() => {}); // `stop` tells
  }

  beginEpoch(): void {
    this.#epoch += 1;
    this.#sequence = 0;
  }

  /** The first frames of an epoch, which never were. */
  async #leaveGap(): Promise<void> {
    const fromSequence = this.#sequence;
    this.#sequence += DROPPED;
    const numbers = { fromSequence, toSequence: fromSequence + DROPPED - 1, frames: DROPPED, windows: 3 * DROPPED };
    const times = { fromTimeMs: FIRST_TIME_MS, toTimeMs: FIRST_TIME_MS + 1000 };
    const { party, gateway } = this;
    const unsigned = { plant: party.plant, gateway: gateway.name, epoch: this.#epoch, ...numbers, ...times, reason: "bytes" as const };
    const gap = signGap(unsigned, gateway.signingKey);
    const payload = gapCodec.encode(gap);
    this.gapEnvelopes.add(hash("sha256", payload));
    this.gaps.set(gapId(gap), gap);
    await this.#connection.publish(framesTopic(party.plant, gateway.name), payload);
  }

  /** Sends no more. @throws what ended the sending before */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#sending;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#connection[Symbol.asyncDispose]();
    await this.#sending.catch(() => {});
  }

  async #send(everyMs: number): Promise<void> {
    const { small } = this.#world;
    for (let round = 0; !this.#stop.signal.aborted; round++) {
      if (this.#sequence === 0) await this.#leaveGap();
      const place = { epoch: this.#epoch, sequence: this.#sequence++ };
      const windows = Array.from({ length: 1 + (round % LANES_PER_GATEWAY) }, (_, lane) => {
        const features = small.window(1 + (round * LANES_PER_GATEWAY + lane) * 4 + this.gateway.firstLane);
        return { lane, features };
      });
      const frame = signFrame(sealFrame(this.#world, this.party, this.gateway, place, windows), this.gateway.signingKey);
      for (const { lane, features } of windows) this.expected.set(windowId(frame, this.gateway.firstLane + lane), small.score(features));
      const payload = frameCodec.encode(frame);
      this.envelopes.add(hash("sha256", payload));
      this.parts.add(partId(frame));
      await this.#connection.publish(framesTopic(this.party.plant, this.gateway.name), payload);
      this.recent.push(frame);
      if (this.recent.length > KEPT_FRAMES) this.recent.shift();
      if (this.#epoch === 1 && this.first.length < KEPT_FRAMES) this.first.push(frame);
      await delay(everyMs, undefined, { signal: this.#stop.signal }).catch(() => {});
    }
  }
}
