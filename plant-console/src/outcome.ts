import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import type { ScoreKeys } from "./score-reader.ts";
import type { Trust } from "./verification.ts";

/**
 * What a delivery's payload comes to:
 * - `read`: what it says of this plant;
 * - `refused`: for good. `mayChange`: it was by who is believed or by which keys are there, and the files behind those may be newer than
 *   what was read of them;
 * - `awaited`: sound, but under a key that the plant's register lists and the keystore does not hold yet.
 */
export type Outcome<T> =
  | { readonly kind: "read"; readonly value: T }
  | { readonly kind: "refused"; readonly error: PipelineError; readonly mayChange: boolean }
  | { readonly kind: "awaited"; readonly error: PipelineError; readonly keyId: string };

/** Where a console's own disk failed: no fault of the delivery, which must not be passed over for it. */
const OWN_FAILURES = new Set(["STORE_UNAVAILABLE", "FILE_DAMAGED"]);

/**
 * What reading a delivery comes to.
 * @param read reads it, or throws for what is wrong with it
 * @throws {PipelineError} STORE_UNAVAILABLE, FILE_DAMAGED when the use of a key cannot be recorded
 */
export function outcomeOf<T>(
  read: (trust: Trust) => T,
  { keys, trust, nowMs }: { keys: ScoreKeys; trust: Trust; nowMs: number },
): Outcome<T> {
  try {
    return { kind: "read", value: read(trust) };
  } catch (thrown) {
    // Whatever the bytes make a decoder do, the next delivery must not wait for it.
    const error = isPipelineError(thrown) ? thrown : new PipelineError("SCORE_MISMATCH", "the score cannot be read", {}, thrown);
    if (OWN_FAILURES.has(error.code)) throw error;
    const { keyId, paramsId } = error.facts;
    if (error.code !== "KEY_UNKNOWN") return { kind: "refused", error, mayChange: error.code === "SIGNATURE_INVALID" };
    const isStillToCome = keys.find(String(keyId)) === undefined && trust.plant.keyAt(String(paramsId), String(keyId), nowMs) !== undefined;
    return isStillToCome ? { kind: "awaited", error, keyId: String(keyId) } : { kind: "refused", error, mayChange: true };
  }
}
