import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import { type Gap, gapCodec } from "@smile/schemas/envelopes";
import { readGap } from "./gap-reader.ts";
import type { ReadScore, ScoreKeys, ScoreReader } from "./score-reader.ts";
import type { Trust } from "./verification.ts";

/**
 * What a delivery's payload comes to:
 * - `read`: risks or a gap of this plant;
 * - `refused`: for good. `mayChange`: it was by who is believed or by which keys are there, and the files behind those may be newer than
 *   what was read of them;
 * - `awaited`: sound, but under a key that the plant's register lists and the keystore does not hold yet.
 */
export type Outcome =
  | ({ readonly kind: "read"; readonly gaps: readonly Gap[] } & ReadScore)
  | { readonly kind: "refused"; readonly error: PipelineError; readonly mayChange: boolean }
  | { readonly kind: "awaited"; readonly error: PipelineError; readonly keyId: string };

/** Where a console's own disk failed: no fault of the delivery, which must not be passed over for it. */
const OWN_FAILURES = new Set(["STORE_UNAVAILABLE", "FILE_DAMAGED"]);

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
  read(payload: Uint8Array, nowMs: number): Outcome {
    const trust = this.#trust();
    try {
      if (gapCodec.claims(payload)) return { kind: "read", risks: [], gaps: [readGap(payload, trust)], unknownLanes: 0, revokedWindows: 0 };
      return { kind: "read", gaps: [], ...this.#scores.read(payload, trust) };
    } catch (thrown) {
      // Whatever the bytes make a decoder do, the next delivery must not wait for it.
      const error = isPipelineError(thrown) ? thrown : new PipelineError("SCORE_MISMATCH", "the score cannot be read", {}, thrown);
      if (OWN_FAILURES.has(error.code)) throw error;
      const keyId = error.code === "KEY_UNKNOWN" ? String(error.facts.keyId) : undefined;
      if (keyId !== undefined && this.#isStillToCome(String(error.facts.paramsId), keyId, trust, nowMs))
        return { kind: "awaited", error, keyId };
      return { kind: "refused", error, mayChange: keyId !== undefined || error.code === "SIGNATURE_INVALID" };
    }
  }

  #isStillToCome(paramsId: string, keyId: string, { plant }: Trust, nowMs: number): boolean {
    return this.#keys.find(keyId) === undefined && plant.keyAt(paramsId, keyId, nowMs) !== undefined;
  }
}
