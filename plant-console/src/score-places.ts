import { PipelineError } from "@smile/errors/pipeline-error";
import { decodeLanes } from "@smile/he/lanes";
import type { Part, Score } from "@smile/schemas/envelopes";
import type { DecryptionKey, ScoreKeys } from "./score-reader.ts";

/** An occupied lane of a score, in [0, L), and the part that it came in. */
export type Place = { readonly lane: number; readonly part: Part };

/**
 * The key that a score is under.
 * @throws {PipelineError} KEY_UNKNOWN with `paramsId` and `keyId` of one that is not open
 */
export function keyOf({ paramsId, keyId }: Score, keys: ScoreKeys): DecryptionKey {
  const key = keys.find(keyId);
  if (typeof key === "object") return key;
  const what = key === "destroyed" ? "was destroyed when its retention ended" : "the keystore does not hold";
  throw new PipelineError("KEY_UNKNOWN", `the score is under a key that ${what}`, { paramsId, keyId });
}

/**
 * Every occupied lane, ascending: the order of the scores in a reply.
 * @param lanes L, lanes per ciphertext
 * @throws {PipelineError} SCORE_MISMATCH when a part is not of the gateway whose key it is under; LANES_INVALID
 */
export function placesOf(parts: readonly Part[], key: DecryptionKey, lanes: number): Place[] {
  const places = parts.flatMap((part) => {
    if (key.gateway !== null && key.gateway !== part.gateway)
      throw new PipelineError("SCORE_MISMATCH", "gateway of the score is not the one whose key it names", { field: "gateway" });
    return decodeLanes(part.lanes, lanes).map((lane) => ({ lane, part }));
  });
  places.sort((a, b) => a.lane - b.lane);
  for (let i = 1; i < places.length; i++) {
    const { lane } = places[i]!;
    if (lane === places[i - 1]!.lane) throw new PipelineError("LANES_INVALID", `lane ${lane} is named by two parts of the score`, { lane });
  }
  return places;
}
