import { deliveryCodec, type Gap, gapCodec, type Score, scoreCodec } from "@smile/schemas/envelopes";
import { signFrame, signGap, signScore } from "@smile/schemas/signing";
import { type Dice, mutate } from "../fuzz/mutate.ts";
import { withLargeResidue } from "./bytes-for-seal.ts";
import { pick, randomBytes, randomHash, withFlips } from "./case.ts";
import { FEED } from "./fake-operator.ts";
import { HOSTILE_EPOCH } from "./frame-cases.ts";
import type { World } from "./world.ts";

/** What the fake operator sends: an entry of its feed, or a payload beside it. */
export type DeliveryCase = { readonly entry: Uint8Array } | { readonly aside: Uint8Array };

/** Good scores as the model service signed them, the first plant's and the other's. */
export type GoodScores = { readonly own: readonly Score[]; readonly others: readonly Score[] };

/**
 * Hostile deliveries, made by whoever holds the operator's broker; some by whoever has the model service's key too. None of them may
 * become a risk, and none may cost the good ones around it theirs.
 */
export class DeliveryCases {
  readonly #world: World;
  readonly #good: GoodScores;
  readonly #length: () => number;
  #marker = 0;

  /** @param length of the feed so far */
  constructor(world: World, good: GoodScores, length: () => number) {
    this.#world = world;
    this.#good = good;
    this.#length = length;
  }

  readonly kinds: Readonly<Record<string, (dice: Dice) => DeliveryCase>> = {
    "delivery malformed": (dice) => {
      const offset = this.#length();
      const seed = deliveryCodec.encode({ ...FEED, from: offset, offset, score: randomBytes(60, dice) });
      const aside = mutate([seed], 1, [Buffer.from(FEED.topicId), Buffer.from("\0")], dice);
      // What decodes after all would be dealt with as an entry of the feed, in the place of a good one: then let it be an entry.
      const decoded = decode(aside);
      return decoded === undefined ? { aside } : { entry: decoded };
    },
    "delivery out of its turn": (dice) => {
      const score = scoreCodec.encode(this.#score(dice));
      const length = this.#length();
      const far = length + 10_000 + dice(1000);
      return {
        aside: deliveryCodec.encode(
          pick(
            [
              { ...FEED, from: far, offset: far, score },
              { ...FEED, from: far, offset: 2 ** 53 - 2, score },
              { ...FEED, from: -1, offset: -1, score },
              { ...FEED, from: 0, offset: 0, score },
              { ...FEED, from: far, offset: 0, score },
              { topicId: "another", partition: 0, from: 1 + dice(1000), offset: far, score },
              { ...FEED, partition: 7, from: 1, offset: far, score },
            ],
            dice,
          ),
        ),
      };
    },
    "score bits": (dice) => {
      const value = scoreCodec.encode(this.#score(dice));
      return { entry: dice(2) === 0 ? withFlips(value, dice) : withFlips(value, dice, 0, 500) };
    },
    "score malformed": (dice) => {
      const score = this.#score(dice);
      const seed = scoreCodec.encode({ ...score, replies: score.replies.map(() => randomBytes(50, dice)) });
      const entry = mutate([seed], 1, [Buffer.from(score.plant)], dice);
      return { entry };
    },
    "score version": (dice) => {
      const value = Uint8Array.from(scoreCodec.encode(this.#score(dice)));
      if (dice(3) === 0) return { entry: scoreCodec.encode(this.#score(dice), 1) };
      value[pick([0, 1], dice)] = pick([0, 3, 0x42, 0x46, 0x58, 255], dice);
      return { entry: value };
    },
    "score forged signature": (dice) =>
      this.#entry({
        ...this.#marked(dice),
        signature: pick([randomBytes(64, dice), new Uint8Array(0), new Uint8Array(64), randomBytes(63, dice)], dice),
      }),
    "score of a former signer": (dice) => this.#entry(signScore(this.#score(dice), this.#world.formerScoreSigner)),
    "score signed by a gateway": (dice) =>
      this.#entry(signScore(this.#score(dice), pick(this.#world.parties[0].gateways, dice).signingKey)),
    "score relabelled": (dice) => this.#entry(this.#relabelled(dice)),
    "score relabelled, signed": (dice) => this.#entry(signScore(this.#relabelled(dice), this.#world.scoreSigner)),
    "score with swapped replies": (dice) => this.#entry({ ...this.#score(dice), replies: this.#score(dice).replies }),
    // By the model service's own key over windows that have their answers already: a contradiction, and the first stays.
    "score with swapped replies, signed": (dice) => {
      const score = this.#score(dice);
      const others = this.#good.own.filter((other) => other.replies[0]!.length === score.replies[0]!.length);
      return this.#entry(signScore({ ...score, replies: pick(others, dice).replies }, this.#world.scoreSigner));
    },
    "score of another plant": (dice) => {
      const other = pick(this.#good.others, dice);
      const asOwn = { ...other, plant: this.#world.parties[0].plant };
      return this.#entry(
        pick(
          [
            other,
            asOwn,
            signScore(asOwn, this.#world.scoreSigner),
            signScore({ ...asOwn, keyId: this.#score(dice).keyId }, this.#world.scoreSigner),
          ],
          dice,
        ),
      );
    },
    "score of other parameters, signed": (dice) => {
      const score = this.#score(dice);
      const change = pick<Partial<Score>>(
        [
          { paramsId: randomHash(dice) },
          { featureSetId: randomHash(dice) },
          { headId: randomHash(dice) },
          { keyId: randomHash(dice) },
          { keyId: this.#world.parties[0].keyIds.revoked },
          { scheme: "identity" },
          { keyMode: "symmetric" },
        ],
        dice,
      );
      // Its parts are signed under it too: a gateway's key is stolen as well.
      const kind = { ...score, ...change };
      const parts = score.parts.map((part) => ({ ...part, signature: this.#partSignature(kind, part) }));
      return this.#entry(signScore({ ...kind, parts }, this.#world.scoreSigner));
    },
    "score of a revoked gateway key": (dice) => {
      const score = this.#marked(dice);
      const parts = score.parts.map((part) => ({ ...part, signature: this.#partSignature(score, part, "revoked") }));
      return this.#entry(signScore({ ...score, parts }, this.#world.scoreSigner));
    },
    "score reply, signed": (dice) => {
      const score = this.#ownParts(dice);
      const { params, deployed } = this.#world.small;
      const [reply] = score.replies;
      const replies = pick(
        [
          () => [reply!.subarray(1)],
          () => [Buffer.concat([reply!, Uint8Array.of(0)])],
          () => [new Uint8Array(0)],
          () => [],
          () => [reply!, reply!],
          () => Array.from({ length: 4096 }, () => new Uint8Array(0)),
          // Of a switched reply every residue is in range: what else is signed there is the model service's answer, true or not.
          () => [
            deployed.deployment.replies === undefined
              ? withLargeResidue(reply!, params, dice)
              : Buffer.concat([reply!, randomBytes(8, dice)]),
          ],
          () => [randomBytes(40_000, dice)],
        ],
        dice,
      )();
      // A reply has fewer residues than a ciphertext: where the one that was to be too large is not in it, nothing has changed.
      const isGood = replies.length === 1 && Buffer.compare(replies[0]!, reply!) === 0;
      return this.#entry(signScore({ ...score, replies: isGood ? [] : replies }, this.#world.scoreSigner));
    },
    "score without parts, signed": (dice) => {
      const score = this.#score(dice);
      const [first] = score.parts;
      return this.#entry(signScore({ ...score, parts: pick([[], [...score.parts, first!]], dice) }, this.#world.scoreSigner));
    },
    "score replayed": (dice) => this.#entry(this.#score(dice)),
    "gap delivered": (dice) => {
      const party = this.#world.parties[0];
      const gateway = pick(party.gateways, dice);
      const times = { fromTimeMs: 1, toTimeMs: 2 };
      const gap: Omit<Gap, "signature"> = {
        plant: party.plant,
        gateway: gateway.name,
        epoch: HOSTILE_EPOCH,
        fromSequence: 5,
        toSequence: 8,
        frames: 4,
        windows: 4,
        reason: "age",
        ...times,
      };
      const signed = signGap(gap, gateway.signingKey);
      return {
        entry: pick(
          [
            () => withFlips(gapCodec.encode(signed), dice),
            () => gapCodec.encode(signGap(gap, gateway.revoked.signingKey)),
            () => gapCodec.encode(signGap(gap, this.#world.scoreSigner)),
            () => gapCodec.encode(signGap({ ...gap, frames: 9 }, gateway.signingKey)),
            () => gapCodec.encode(signGap({ ...gap, windows: -4 }, gateway.signingKey)),
            () => gapCodec.encode(signGap({ ...gap, plant: "south" }, gateway.signingKey)),
            () => gapCodec.encode({ ...signed, toSequence: 9, frames: 5 }),
          ],
          dice,
        )(),
      };
    },
  };

  #entry(score: Score): DeliveryCase {
    return { entry: scoreCodec.encode(score) };
  }

  #score(dice: Dice): Score {
    return pick(this.#good.own, dice);
  }

  /** A good score with its parts under ids that no gateway uses. */
  #marked(dice: Dice): Score {
    const score = this.#score(dice);
    return { ...score, parts: score.parts.map((part) => ({ ...part, epoch: HOSTILE_EPOCH, sequence: this.#marker++ })) };
  }

  /** The same, with the signatures that the gateways' stolen keys make. */
  #ownParts(dice: Dice): Score {
    const score = this.#marked(dice);
    return { ...score, parts: score.parts.map((part) => ({ ...part, signature: this.#partSignature(score, part) })) };
  }

  /** A part's signature under this kind by a gateway's stolen key, or by its revoked one. */
  #partSignature(kind: Score, part: Score["parts"][number], which: "true" | "revoked" = "true"): Uint8Array {
    const gateway = this.#world.parties[0].gateways.find(({ name }) => name === part.gateway)!;
    const { signingKey } = which === "true" ? gateway : gateway.revoked;
    const { plant, scheme, keyMode, paramsId, keyId, featureSetId } = kind;
    const frame = { ...part, plant, scheme, keyMode, paramsId, keyId, featureSetId, ciphertext: new Uint8Array(0) };
    return signFrame(frame, signingKey).signature;
  }

  #relabelled(dice: Dice): Score {
    const score = this.#score(dice);
    const other = pick(this.#good.own, dice);
    const [first, ...rest] = score.parts;
    const parts = pick(
      [
        () => [{ ...first!, sequence: first!.sequence + 1 }, ...rest],
        () => [{ ...first!, gateway: first!.gateway === "a1" ? "a2" : "a1" }, ...rest],
        () => [{ ...first!, frameTimeMs: first!.frameTimeMs + 1000 }, ...rest],
        () => [{ ...first!, block: first!.block + 1 }, ...rest],
        () => [{ ...first!, epoch: HOSTILE_EPOCH }, ...rest],
        () => [{ ...other.parts[0]!, signature: first!.signature, sequence: other.parts[0]!.sequence + 1_000_000 }, ...rest],
        () => [{ ...first!, ciphertextHash: randomHash(dice) }, ...rest],
      ],
      dice,
    )();
    return { ...score, parts };
  }
}

/** The score of what is a delivery after all. */
function decode(bytes: Uint8Array): Uint8Array | undefined {
  try {
    return deliveryCodec.decode(bytes).score;
  } catch {
    return undefined;
  }
}
