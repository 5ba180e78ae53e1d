import { hash, type KeyObject } from "node:crypto";
import { encodeLanes } from "@smile/he/lanes";
import { signBytes } from "@smile/schemas/ed25519";
import { type Frame, frameCodec, type Gap, gapCodec } from "@smile/schemas/envelopes";
import { signFrame, signGap } from "@smile/schemas/signing";
import { framesTopic } from "@smile/schemas/topics";
import { type Dice, mutate } from "../fuzz/mutate.ts";
import { bomb, nanScale, transparent, withLargeResidue } from "./bytes-for-seal.ts";
import { type FrameCase, pick, randomBytes, randomHash, withFlips } from "./case.ts";
import { type HonestGateway, sealFrame } from "./honest.ts";
import type { Gateway, Party } from "./party.ts";
import type { World } from "./world.ts";

/** No honest gateway comes near this epoch: what is found under it was taken from somebody hostile. */
export const HOSTILE_EPOCH = 900_000;
/** Order of the group of Ed25519 (RFC 8032, 5.1): S and S + L verify alike where nobody looks at S's range. */
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const CIPHERTEXTS = 12;

/** A place from which somebody hostile sends: a gateway whose keys were stolen, and its honest twin that goes on. */
type Place = { readonly party: Party; readonly gateway: Gateway; readonly twin: HonestGateway };

/** Hostile frames and gaps, made by somebody who has all that belongs to one gateway, and has recorded what others sent. */
export class FrameCases {
  readonly #world: World;
  readonly #places: readonly Place[];
  /** By gateway: some good ciphertexts of it. */
  readonly #sealed = new Map<string, readonly Omit<Frame, "signature">[]>();
  #sequence = 0;

  constructor(world: World, honest: readonly HonestGateway[]) {
    this.#world = world;
    this.#places = honest.map((twin) => ({ party: twin.party, gateway: twin.gateway, twin }));
    for (const { party, gateway } of this.#places) {
      const place = { epoch: HOSTILE_EPOCH, sequence: 0 };
      const windows = [0, 3, 5].map((lane) => ({ lane, features: world.small.window(7 + lane) }));
      this.#sealed.set(
        gateway.name,
        Array.from({ length: CIPHERTEXTS }, () => sealFrame(world, party, gateway, place, windows)),
      );
    }
  }

  /** The honest gateways whose keys were stolen. */
  get twins(): readonly HonestGateway[] {
    return this.#places.map(({ twin }) => twin);
  }

  /** A frame that would be taken if its gateway signed it. */
  good({ gateway }: Pick<Place, "gateway">, dice: Dice): Omit<Frame, "signature"> {
    return { ...pick(this.#sealed.get(gateway.name)!, dice), epoch: HOSTILE_EPOCH, sequence: this.#sequence++ };
  }

  /** A gap that would be taken if its gateway signed it. */
  goodGap({ gateway, party }: Place): Omit<Gap, "signature"> {
    return this.#gap(gateway, party.plant, () => 0);
  }

  place(dice: Dice): Place {
    return pick(this.#places, dice);
  }

  /** What the place's gateway publishes where it may. */
  #own({ party, gateway }: Place, payload: Uint8Array): FrameCase {
    return { via: { party, gateway }, topic: framesTopic(party.plant, gateway.name), payload };
  }

  /** A frame with changes, signed anew by the gateway's true key. */
  #changed(dice: Dice, change: (frame: Omit<Frame, "signature">, place: Place) => Partial<Frame>): FrameCase {
    const place = this.place(dice);
    const frame = this.good(place, dice);
    return this.#own(place, frameCodec.encode(signFrame({ ...frame, ...change(frame, place) }, place.gateway.signingKey)));
  }

  /** A frame whose ciphertext is another one, with its true hash. */
  #withCiphertext(dice: Dice, make: (ciphertext: Uint8Array) => Uint8Array): FrameCase {
    return this.#changed(dice, (frame) => {
      const ciphertext = make(frame.ciphertext);
      return { ciphertext, ciphertextHash: hash("sha256", ciphertext) };
    });
  }

  #withSignature(dice: Dice, make: (signed: Frame, place: Place) => Uint8Array): FrameCase {
    const place = this.place(dice);
    const signed = signFrame(this.good(place, dice), place.gateway.signingKey);
    return this.#own(place, frameCodec.encode({ ...signed, signature: make(signed, place) }));
  }

  /** Another gateway, of the same plant or of the other one. */
  #other(place: Place, dice: Dice): Place {
    return pick(
      this.#places.filter((other) => other !== place),
      dice,
    );
  }

  #gap(gateway: Gateway, plant: string, dice: Dice): Omit<Gap, "signature"> {
    const fromSequence = 1000 * this.#sequence++;
    const frames = 1 + dice(10);
    const toSequence = fromSequence + frames - 1;
    const times = { fromTimeMs: 1_790_000_000_000, toTimeMs: 1_790_000_100_000 };
    return { plant, gateway: gateway.name, epoch: HOSTILE_EPOCH, fromSequence, toSequence, frames, windows: 5, ...times, reason: "bytes" };
  }

  #signedGap(dice: Dice, change: (gap: Omit<Gap, "signature">) => Partial<Gap>): FrameCase {
    const place = this.place(dice);
    const gap = this.#gap(place.gateway, place.party.plant, dice);
    return this.#own(place, gapCodec.encode(signGap({ ...gap, ...change(gap) }, place.gateway.signingKey)));
  }

  /** Makers of one case each, by kind. What each makes must be refused, or counted as a replay. */
  readonly kinds: Readonly<Record<string, (dice: Dice) => FrameCase>> = {
    "frame bits": (dice) => {
      const place = this.place(dice);
      const payload = frameCodec.encode(signFrame(this.good(place, dice), place.gateway.signingKey));
      // Most of an envelope is ciphertext: half of the flips go to the rest.
      return this.#own(place, dice(2) === 0 ? withFlips(payload, dice) : withFlips(payload, dice, 0, 300));
    },
    "frame ciphertext flipped, signed": (dice) => this.#changed(dice, ({ ciphertext }) => ({ ciphertext: withFlips(ciphertext, dice) })),
    "frame hash": (dice) => this.#changed(dice, () => ({ ciphertextHash: randomHash(dice) })),
    "frame length": (dice) =>
      this.#withCiphertext(dice, (good) =>
        pick(
          [
            () => good.subarray(0, good.length - 1 - dice(3)),
            () => good.subarray(0, dice(good.length)),
            () => Buffer.concat([good, randomBytes(1 + dice(9), dice)]),
            () => Buffer.concat([good, good]),
            () => good.subarray(0, good.length / 2 + 64),
            () => new Uint8Array(0),
          ],
          dice,
        )(),
      ),
    "frame residue": (dice) => this.#withCiphertext(dice, (good) => withLargeResidue(good, this.#world.small.params, dice)),
    "frame transparent": (dice) => this.#withCiphertext(dice, transparent),
    "frame SEAL layout": (dice) => this.#withCiphertext(dice, () => nanScale(this.#world.small.params, dice)),
    "frame bomb": (dice) => this.#withCiphertext(dice, () => bomb(dice)),
    "frame parameters": (dice) =>
      this.#changed(dice, (frame) =>
        pick<Partial<Frame>>(
          [
            { paramsId: randomHash(dice) },
            { paramsId: "0".repeat(64) },
            { featureSetId: randomHash(dice) },
            { featureSetId: frame.paramsId, paramsId: frame.featureSetId },
            { scheme: "identity" },
            { keyMode: "symmetric" },
          ],
          dice,
        ),
      ),
    "frame foreign key": (dice) =>
      this.#changed(dice, (_, { party }) => {
        const { retired, revoked } = party.keyIds;
        const others = this.#world.parties.filter((other) => other !== party).map(({ keyIds }) => keyIds.active);
        return { keyId: pick([retired, revoked, randomHash(dice), ...others], dice) };
      }),
    "frame lanes": (dice) =>
      this.#changed(dice, ({ lanes }, { gateway, party }) => {
        const total = this.#world.small.deployed.deployment.lanes;
        const neighbour = party.gateways.find((other) => other !== gateway)!.firstLane;
        return pick<Partial<Frame>>(
          [
            { lanes: encodeLanes([neighbour], total) },
            { lanes: encodeLanes([gateway.firstLane, neighbour + dice(8)], total) },
            {
              lanes: encodeLanes(
                Array.from({ length: total }, (_, lane) => lane),
                total,
              ),
            },
            { lanes: new Uint8Array(lanes.length) },
            { lanes: lanes.subarray(1) },
            { lanes: Buffer.concat([lanes, lanes]) },
            { lanes: new Uint8Array(0) },
            { lanes: randomBytes(20_000, dice) },
            { block: 1 + dice(5) },
            { block: 2 ** 31 - 1 },
          ],
          dice,
        );
      }),
    "frame numbers": (dice) =>
      this.#changed(dice, () =>
        pick<Partial<Frame>>(
          [{ epoch: -1 }, { sequence: -1 - dice(100) }, { block: -1 }, { block: -(2 ** 31) }, { epoch: -(2 ** 52) }],
          dice,
        ),
      ),
    "frame swapped sender": (dice) => {
      const place = this.place(dice);
      const other = this.#other(place, dice);
      const mine = signFrame(this.good(place, dice), place.gateway.signingKey);
      const theirs = signFrame({ ...this.good(other, dice) }, place.gateway.signingKey);
      const { plant } = this.#world.parties.find((party) => party !== place.party)!;
      return pick<FrameCase>(
        [
          // On another's topic: one's own, and one that says to be the other's; on one's own topic: another's, and another's recorded one.
          { ...this.#own(other, frameCodec.encode(mine)), via: place },
          { ...this.#own(other, frameCodec.encode(theirs)), via: place },
          this.#own(place, frameCodec.encode(theirs)),
          this.#own(place, frameCodec.encode(pick(other.twin.recent, dice) ?? theirs)),
          { ...this.#own(other, frameCodec.encode(pick(other.twin.recent, dice) ?? theirs)), via: place },
          this.#own(place, frameCodec.encode(signFrame({ ...this.good(place, dice), plant }, place.gateway.signingKey))),
          this.#own(place, frameCodec.encode(signFrame({ ...this.good(place, dice), gateway: "nobody" }, place.gateway.signingKey))),
          { via: place, topic: framesTopic("nowhere", place.gateway.name), payload: frameCodec.encode(mine) },
        ],
        dice,
      );
    },
    "frame forged signature": (dice) =>
      this.#withSignature(dice, (signed, place) => {
        const by = (key: KeyObject) => signFrame(signed, key).signature;
        const other = this.#other(place, dice);
        return pick(
          [
            () => randomBytes(64, dice),
            () => new Uint8Array(0),
            () => new Uint8Array(64),
            () => signed.signature.subarray(0, dice(64)),
            () => Buffer.concat([signed.signature, randomBytes(1 + dice(64), dice)]),
            () => withFlips(signed.signature, dice),
            () => by(other.gateway.signingKey),
            () => by(place.gateway.revoked.signingKey),
            () => by(place.party.identity),
            () => by(this.#world.scoreSigner),
            () => signBytes(frameCodec.encode(signed), place.gateway.signingKey),
            () => signFrame({ ...signed, sequence: signed.sequence + 1 }, place.gateway.signingKey).signature,
            () => malleable(signed.signature),
          ],
          dice,
        )();
      }),
    "frame replayed": (dice) => {
      const place = this.place(dice);
      const { recent } = place.twin;
      const frame = pick(recent.slice(-20), dice);
      if (frame === undefined) return this.#own(place, frameCodec.encode({ ...this.good(place, dice), signature: new Uint8Array(64) }));
      // As it was; and with other content under its id, by the stolen key.
      if (dice(2) === 0) return this.#own(place, frameCodec.encode(frame));
      const { ciphertext, ciphertextHash, lanes } = this.good(place, dice);
      return this.#own(place, frameCodec.encode(signFrame({ ...frame, ciphertext, ciphertextHash, lanes }, place.gateway.signingKey)));
    },
    "frame of a former epoch": (dice) => {
      const place = this.place(dice);
      const frame = pick(place.twin.first, dice);
      return this.#own(place, frameCodec.encode(frame ?? { ...this.good(place, dice), signature: new Uint8Array(64) }));
    },
    "frame version": (dice) => {
      const place = this.place(dice);
      const payload = Uint8Array.from(frameCodec.encode(signFrame(this.good(place, dice), place.gateway.signingKey)));
      payload[1] = pick([0, 2, 3, 127, 255], dice);
      if (dice(2) === 0) payload[0] = pick([0, 0x42, 0x47, 0x53, 0x58, 0x44, 0xff], dice);
      return this.#own(place, payload);
    },
    "frame malformed": (dice) => {
      const place = this.place(dice);
      const small = { ...this.good(place, dice), ciphertext: randomBytes(100, dice) };
      const seed = frameCodec.encode(signFrame(small, place.gateway.signingKey));
      const words = [place.party.plant, place.gateway.name, "\0", "é", "x".repeat(9000)].map((word) => Buffer.from(word));
      return this.#own(place, mutate([seed], 1, words, dice));
    },
    "frame trailing bytes": (dice) => {
      const place = this.place(dice);
      const whole = frameCodec.encode(signFrame(this.good(place, dice), place.gateway.signingKey));
      const cut = [
        Buffer.concat([whole, randomBytes(1 + dice(40), dice)]),
        whole.subarray(0, dice(whole.length)),
        Buffer.concat([whole, whole]),
      ];
      return this.#own(place, pick(cut, dice));
    },
    "frame oversize": (dice) => {
      const place = this.place(dice);
      const huge = [
        () => randomBytes(10, dice),
        () => frameCodec.encode(signFrame(this.good(place, dice), place.gateway.signingKey)),
        () => Buffer.concat([Uint8Array.of(0x46, 1), Buffer.alloc(10, 0xff)]),
        () => frameCodec.encode(signFrame({ ...this.good(place, dice), jobId: "j".repeat(40_000) }, place.gateway.signingKey)),
      ];
      const head = pick(huge, dice)();
      return this.#own(
        place,
        Buffer.concat([head, Buffer.alloc(64 * 1024 + 1 + dice(60_000) - Math.min(head.length, 64 * 1024), dice(256))]),
      );
    },
    "gap bits": (dice) => {
      const place = this.place(dice);
      const gap = signGap(this.#gap(place.gateway, place.party.plant, dice), place.gateway.signingKey);
      return this.#own(place, withFlips(gapCodec.encode(gap), dice));
    },
    "gap malformed": (dice) => {
      const place = this.place(dice);
      const seed = gapCodec.encode(signGap(this.#gap(place.gateway, place.party.plant, dice), place.gateway.signingKey));
      const payload = mutate([seed], 1, [Buffer.from(place.gateway.name), Buffer.from("age")], dice);
      return this.#own(place, Buffer.compare(payload, seed) === 0 ? payload.subarray(1) : payload);
    },
    "gap contradiction": (dice) =>
      this.#signedGap(dice, ({ frames, fromSequence, toSequence, fromTimeMs }) =>
        pick<Partial<Gap>>(
          [
            { frames: frames + 1 },
            { frames: 0 },
            { frames: -frames },
            { windows: -1 },
            { fromSequence: -1 },
            { fromSequence: toSequence + 1 },
            { toSequence: fromSequence - 1 },
            { epoch: -1 },
            { toTimeMs: fromTimeMs - 1 },
            { toSequence: 2 ** 53 - 2 },
          ],
          dice,
        ),
      ),
    "gap replayed": (dice) => {
      const place = this.place(dice);
      const gap = pick([...place.twin.gaps.values()], dice);
      // As it was; and with other content under its id, by the stolen key.
      const other = signGap({ ...gap, windows: gap.windows + dice(9) }, place.gateway.signingKey);
      return this.#own(place, gapCodec.encode(pick([gap, other], dice)));
    },
    "gap of another": (dice) => {
      const place = this.place(dice);
      const other = this.#other(place, dice);
      const gap = this.#gap(other.gateway, other.party.plant, dice);
      const key = pick([place.gateway.signingKey, place.gateway.revoked.signingKey, place.party.identity], dice);
      const forged = gapCodec.encode(signGap(gap, key));
      const own = gapCodec.encode(
        signGap(
          this.#gap(place.gateway, place.party.plant, dice),
          pick([other.gateway.signingKey, place.gateway.revoked.signingKey], dice),
        ),
      );
      return pick(
        [this.#own(place, forged), { ...this.#own(other, forged), via: place }, this.#own(other, forged), this.#own(place, own)],
        dice,
      );
    },
  };
}

/** The same signature in its other form, S + L. */
function malleable(signature: Uint8Array): Uint8Array {
  const changed = Buffer.from(signature);
  let s = 0n;
  for (let i = 63; i >= 32; i--) s = (s << 8n) | BigInt(changed[i]!);
  s += L;
  for (let i = 32; i < 64; i++, s >>= 8n) changed[i] = Number(s & 255n);
  return changed;
}
