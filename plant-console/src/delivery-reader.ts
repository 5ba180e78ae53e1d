import { type Gap, gapCodec } from "@smile/schemas/envelopes";
import { readGap } from "./gap-reader.ts";
import { type Outcome, outcomeOf } from "./outcome.ts";
import type { ReadScore, ScoreKeys, ScoreReader } from "./score-reader.ts";
import type { Trust } from "./verification.ts";

/** Risks or a gap of this plant. */
export type ReadDelivery = { readonly gaps: readonly Gap[] } & ReadScore;

/** Reads what the service delivers, scores and gaps. */
export class DeliveryReader {
  readonly #scores: ScoreReader;
  readonly #keys: ScoreKeys;
  readonly #trust: () => Trust;

  constructor(options: { scores: ScoreReader; keys: ScoreKeys; trust: () => Trust }) {
    this.#scores = options.scores;
    this.#keys = options.keys;
    this.#trust = options.trust;
  }

  /**
   * @param payload a Score or Gap envelope
   * @throws {PipelineError} STORE_UNAVAILABLE, FILE_DAMAGED when the use of a key cannot be recorded
   */
  read(payload: Uint8Array, nowMs: number): Outcome<ReadDelivery> {
    return outcomeOf(
      (trust) => {
        if (gapCodec.claims(payload)) return { risks: [], gaps: [readGap(payload, trust)], unknownLanes: 0, revokedWindows: 0 };
        return { gaps: [], ...this.#scores.read(payload, trust) };
      },
      { keys: this.#keys, trust: this.#trust(), nowMs },
    );
  }
}
