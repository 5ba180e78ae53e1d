import { PipelineError } from "@smile/errors/pipeline-error";
import { paramsId } from "@smile/he/params";
import { type Deployment, documentId, type ModelCard } from "@smile/schemas/documents";
import type { Score } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { riskChange } from "@smile/schemas/score-precision";
import { isConsistent, isFiniteUpTo, riskOf } from "./decide.ts";
import type { LaneMap } from "./lane-map.ts";
import { PartProofs } from "./part-proofs.ts";
import { keyOf, placesOf } from "./score-places.ts";
import { openScore, type Trust } from "./verification.ts";

/** What this reader needs of custody: integer scores of a reply, in lane order. */
export interface ScoreDecryptor {
  decrypt(reply: Uint8Array, lanes: readonly number[]): number[];
}

/** The decryptor of a key. `gateway` is the one whose key it is in symmetric mode; null for the plant-wide key. */
export type DecryptionKey = { readonly keyId: string; readonly gateway: string | null; readonly decryptor: ScoreDecryptor };

/** The decryptors of the keys that the plant has at this moment. */
export interface ScoreKeys {
  find(keyId: string): DecryptionKey | "destroyed" | undefined;
}

/** What names one risk for good, whatever is repeated. */
export type RiskId = {
  readonly gateway: string;
  readonly epoch: number;
  readonly sequence: number;
  readonly block: number;
  readonly lane: number;
  readonly headId: string;
  /** Index into the card's outputs. */
  readonly output: number;
};

/** A decrypted risk of one machine at one time. */
export type Risk = RiskId & {
  readonly machine: string;
  /** End of the window, event time in ms. */
  readonly frameTimeMs: number;
  /** When the gateway closed the window, by its clock, in ms. */
  readonly closedAtMs: number;
  /** The integer that was decrypted: exact, or a multiple next to it of the step of the deployment's replies. */
  readonly score: number;
  /** In the unit of the card. */
  readonly risk: number;
};

export type ReadScore = {
  readonly risks: readonly Risk[];
  /** Lanes that are leased to nobody, or not to the gateway that filled them. */
  readonly unknownLanes: number;
  /** Windows of gateways whose keys were revoked; dropped. */
  readonly revokedWindows: number;
};

/** Turns score envelopes into risks of machines. Throws for what is not this plant's, and does not go on with half of it. */
export class ScoreReader {
  readonly #deployment: Deployment;
  readonly #paramsId: string;
  readonly #featureSetId: string;
  readonly #cards: ReadonlyMap<string, ModelCard>;
  readonly #keys: ScoreKeys;
  readonly #laneMap: LaneMap;
  readonly #proofs = new PartProofs();

  /**
   * @throws {PipelineError} DOCUMENT_INVALID when a card is of another feature set, has its alert bounds the wrong way round, makes risks of
   *   some scores that are no finite numbers, or asks for a better precision than replies have
   */
  constructor(options: { deployment: Deployment; keys: ScoreKeys; laneMap: LaneMap }) {
    this.#deployment = options.deployment;
    const params = paramsFromDocument(options.deployment.params);
    this.#paramsId = paramsId(params);
    this.#featureSetId = documentId(options.deployment.featureSet);
    this.#cards = new Map(options.deployment.cards.map((card) => [card.headId, card]));
    this.#keys = options.keys;
    this.#laneMap = options.laneMap;
    for (const card of options.deployment.cards) {
      if (card.featureSetId !== this.#featureSetId)
        throw new PipelineError("DOCUMENT_INVALID", `card ${card.name}: featureSetId is not the deployment's`, { headId: card.headId });
      if (!isConsistent(card.alert))
        throw new PipelineError("DOCUMENT_INVALID", `card ${card.name}: alert.clear is on the wrong side of alert.raise`, {
          headId: card.headId,
        });
      if (!isFiniteUpTo(params.t / 2, card))
        throw new PipelineError("DOCUMENT_INVALID", `card ${card.name}: scale and calibration make infinite risks of some scores`, {
          headId: card.headId,
        });
      const { step = 1 } = options.deployment.replies ?? {};
      if (step > 1 && !(riskChange(step, card) <= (card.precision ?? 0)))
        throw new PipelineError("DOCUMENT_INVALID", `card ${card.name}: replies.step is coarser than its precision allows`, {
          headId: card.headId,
          step,
        });
    }
  }

  /**
   * @param bytes a Score envelope
   * @throws {PipelineError} FRAME_MALFORMED; SIGNATURE_INVALID; SCORE_MISMATCH naming the field that is not this plant's; KEY_UNKNOWN with
   *   the `paramsId` and `keyId` of a key that is not open; LANES_INVALID; FRAME_WRONG_LENGTH or RESIDUE_OUT_OF_RANGE for a reply
   */
  read(bytes: Uint8Array, trust: Trust): ReadScore {
    const { score, revoked } = openScore(bytes, trust, this.#proofs);
    const { card, key } = this.#check(score);
    const places = placesOf(score.parts, key, this.#deployment.lanes);
    const lanes = places.map((place) => place.lane);
    const perOutput = score.replies.map((reply) => key.decryptor.decrypt(reply, lanes));
    const risks: Risk[] = [];
    let unknownLanes = 0;
    let revokedWindows = 0;
    // Part by part and output by output: what the store keeps in one row comes together.
    for (const part of score.parts) {
      const own = places.flatMap((place, i) => (place.part === part ? [{ lane: place.lane, i }] : []));
      if (revoked.has(part)) {
        revokedWindows += own.length;
        continue;
      }
      const { gateway, epoch, sequence, block, frameTimeMs, closedAtMs } = part;
      const leased = own.flatMap(({ lane, i }) => {
        const machine = this.#laneMap.find(gateway, block, lane);
        return machine === undefined ? [] : [{ lane, i, machine }];
      });
      unknownLanes += own.length - leased.length;
      perOutput.forEach((scores, output) => {
        for (const { lane, i, machine } of leased) {
          const value = scores[i]!;
          const id = { gateway, epoch, sequence, block, lane, headId: score.headId, output };
          risks.push({ ...id, machine, frameTimeMs, closedAtMs, score: value, risk: riskOf(value, card) });
        }
      });
    }
    return { risks, unknownLanes, revokedWindows };
  }

  #check(score: Score): { card: ModelCard; key: DecryptionKey } {
    const deployed = this.#deployment;
    const own = (field: keyof Score, matches: boolean) => {
      if (!matches) throw new PipelineError("SCORE_MISMATCH", `${field} of the score is not this plant's`, { field });
    };
    own("scheme", score.scheme === deployed.params.scheme);
    own("keyMode", score.keyMode === deployed.keyMode);
    own("paramsId", score.paramsId === this.#paramsId);
    own("featureSetId", score.featureSetId === this.#featureSetId);
    const card = this.#cards.get(score.headId);
    own("headId", card !== undefined);
    own("replies", score.replies.length === card!.outputs.length);
    own("parts", score.parts.length > 0 && (deployed.keyMode === "public" || score.parts.length === 1));
    return { card: card!, key: keyOf(score, this.#keys) };
  }
}
