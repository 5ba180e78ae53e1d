import { hash } from "node:crypto";
import { encodeLanes } from "@smile/he/lanes";
import { type Batch, batchCodec, type Part } from "@smile/schemas/envelopes";
import { type Dice, mutate } from "../fuzz/mutate.ts";
import { bomb, nanScale, transparent, withLargeResidue } from "./bytes-for-seal.ts";
import { pick, randomBytes, randomHash, withFlips } from "./case.ts";
import { HOSTILE_EPOCH } from "./frame-cases.ts";
import type { World } from "./world.ts";

/** Of parts that may come as far as a console, which must refuse them. */
export const SCORED_EPOCH = HOSTILE_EPOCH + 1;

/** A record for the log's batches: its key, which names the plant, and its value. */
export type BatchCase = { readonly key: string; readonly value: Uint8Array };

/** Hostile batches, made by a stream processor that has gone over: it holds all good ones, and no key. */
export class BatchCases {
  readonly #world: World;
  readonly #recent: readonly Batch[];
  #marker = 0;

  /** @param recent good batches, to which new ones are added while the run lasts; at least one of each plant */
  constructor(world: World, recent: readonly Batch[]) {
    this.#world = world;
    this.#recent = recent;
  }

  /** Kinds that the model service must refuse. */
  readonly refused: Readonly<Record<string, (dice: Dice) => BatchCase>> = {
    "batch length": (dice) =>
      this.#withCiphertext(dice, (good) =>
        pick(
          [
            good.subarray(0, good.length - 1),
            good.subarray(0, dice(good.length)),
            Buffer.concat([good, randomBytes(1, dice)]),
            good.subarray(0, good.length / 2 + 64),
          ],
          dice,
        ),
      ),
    "batch residue": (dice) => this.#withCiphertext(dice, (good) => withLargeResidue(good, this.#world.small.params, dice)),
    "batch transparent": (dice) => this.#withCiphertext(dice, transparent),
    "batch SEAL layout": (dice) => this.#withCiphertext(dice, () => nanScale(this.#world.small.params, dice)),
    "batch bomb": (dice) => this.#withCiphertext(dice, () => bomb(dice)),
    "batch hash": (dice) =>
      this.#changed(dice, ({ ciphertext }) =>
        pick([{ ciphertextHash: randomHash(dice) }, { ciphertext: withFlips(ciphertext, dice) }], dice),
      ),
    "batch parameters": (dice) =>
      this.#changed(dice, ({ paramsId, featureSetId }) =>
        pick<Partial<Batch>>(
          [
            { paramsId: randomHash(dice) },
            { featureSetId: randomHash(dice) },
            { paramsId: featureSetId, featureSetId: paramsId },
            { scheme: "identity" },
            { keyMode: "symmetric" },
          ],
          dice,
        ),
      ),
    "batch foreign key": (dice) =>
      this.#changed(dice, ({ plant }) => {
        const own = this.#world.parties.find((party) => party.plant === plant)!;
        const other = this.#world.parties.find((party) => party.plant !== plant)!;
        return { keyId: pick([other.keyIds.active, own.keyIds.revoked, randomHash(dice)], dice) };
      }),
    "batch swapped plant": (dice) =>
      this.#changed(dice, ({ plant }) => {
        const other = this.#world.parties.find((party) => party.plant !== plant)!;
        return { plant: pick([other.plant, "nowhere", "", "north\0", "x".repeat(5000)], dice) };
      }),
    "batch lanes": (dice) =>
      this.#changed(dice, ({ parts }) => {
        const total = this.#world.small.deployed.deployment.lanes;
        const [first] = parts;
        return pick<Partial<Batch>>(
          [
            { parts: [] },
            { parts: [...parts, ...parts] },
            { parts: Array.from({ length: 4096 }, () => first!) },
            { parts: [{ ...first!, lanes: new Uint8Array(first!.lanes.length) }] },
            { parts: [{ ...first!, lanes: new Uint8Array(0) }] },
            { parts: [{ ...first!, lanes: randomBytes(20_000, dice) }] },
            {
              parts: [
                ...parts,
                {
                  ...first!,
                  lanes: encodeLanes(
                    Array.from({ length: total }, (_, lane) => lane),
                    total,
                  ),
                },
              ],
            },
          ],
          dice,
        );
      }),
    "batch malformed": (dice) => {
      const batch = this.#base(dice);
      const seed = batchCodec.encode({ ...batch, parts: [this.#mark(batch.parts[0]!)], ciphertext: randomBytes(100, dice) });
      return { key: batch.plant, value: mutate([seed], 1, [Buffer.from(batch.plant), Buffer.from("\0")], dice) };
    },
    "batch version": (dice) => {
      const batch = this.#base(dice);
      const value = Uint8Array.from(batchCodec.encode(batch));
      value[pick([0, 1, 1], dice)] = pick([0, 3, 9, 0x46, 0x53, 255], dice);
      return { key: batch.plant, value };
    },
    "batch trailing bytes": (dice) => {
      const batch = this.#base(dice);
      const whole = batchCodec.encode(batch);
      const value = pick(
        [Buffer.concat([whole, randomBytes(1 + dice(30), dice)]), whole.subarray(0, dice(whole.length)), new Uint8Array(0)],
        dice,
      );
      return { key: pick([batch.plant, batch.plant, "", "nowhere"], dice), value };
    },
  };

  /** Kinds that the model service may score, since a console holds the parts' signatures against them: no risk may come of them. */
  readonly scored: Readonly<Record<string, (dice: Dice) => BatchCase>> = {
    "batch bits": (dice) => {
      const batch = this.#base(dice);
      const value = batchCodec.encode(batch);
      return { key: batch.plant, value: dice(2) === 0 ? withFlips(value, dice) : withFlips(value, dice, 0, 500) };
    },
    "batch forged part": (dice) =>
      this.#altered(dice, ({ parts }) => {
        const forged = parts.map((part) => this.#mark(part, SCORED_EPOCH));
        const others = pick(this.#recent, dice).parts;
        return {
          parts: pick(
            [
              forged,
              forged.map((part) => ({ ...part, signature: new Uint8Array(0) })),
              forged.map((part) => ({ ...part, signature: randomBytes(64, dice) })),
              // Signatures of other parts, and parts that belong to other gateways, blocks and times.
              forged.map((part, i) => ({ ...part, signature: others[i % others.length]!.signature })),
              parts.map((part) => ({
                ...part,
                gateway: pick(
                  ["a1", "a2", "b1", "nobody"].filter((name) => name !== part.gateway),
                  dice,
                ),
              })),
              parts.map((part) => ({ ...part, block: part.block + 1 })),
              parts.map((part) => ({ ...part, frameTimeMs: part.frameTimeMs + 1 })),
            ],
            dice,
          ),
        };
      }),
    "batch of version 1": (dice) => {
      const batch = this.#base(dice);
      const value = batchCodec.encode({ ...batch, parts: batch.parts.map((part) => this.#mark(part, SCORED_EPOCH)) }, 1);
      return { key: batch.plant, value };
    },
    "batch replayed": (dice) => {
      const batch = this.#base(dice);
      return { key: batch.plant, value: batchCodec.encode(batch) };
    },
    // Good parts, already answered, over another window's ciphertext: the first answer stays.
    "batch of other windows": (dice) =>
      this.#altered(dice, ({ plant, keyId }) => {
        const { ciphertext, ciphertextHash } = pick(
          this.#recent.filter((other) => other.plant === plant && other.keyId === keyId),
          dice,
        );
        return { ciphertext, ciphertextHash };
      }),
  };

  /** Under an id that no gateway uses, so that its score would be known; unlike frames, parts can be renamed without a key. */
  #mark(part: Part, epoch = HOSTILE_EPOCH): Part {
    return { ...part, epoch, sequence: this.#marker++ };
  }

  #altered(dice: Dice, change: (batch: Batch) => Partial<Batch>): BatchCase {
    const batch = this.#base(dice);
    return { key: batch.plant, value: batchCodec.encode({ ...batch, ...change(batch) }) };
  }

  /** The same for a batch that must not be scored. */
  #changed(dice: Dice, change: (batch: Batch) => Partial<Batch>): BatchCase {
    return this.#altered(dice, (batch) => {
      const marked = { ...batch, parts: batch.parts.map((part) => this.#mark(part)) };
      return { parts: marked.parts, ...change(marked) };
    });
  }

  /** One over another ciphertext, with its true hash. */
  #withCiphertext(dice: Dice, make: (ciphertext: Uint8Array) => Uint8Array): BatchCase {
    return this.#changed(dice, ({ ciphertext: good }) => {
      const ciphertext = make(good);
      return { ciphertext, ciphertextHash: hash("sha256", ciphertext) };
    });
  }

  #base(dice: Dice): Batch {
    return pick(this.#recent, dice);
  }
}
