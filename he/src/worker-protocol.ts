import type { ErrorCode, Facts } from "@smile/errors/pipeline-error";
import type { ScoringHead } from "./scoring.ts";

/** What a worker starts with. `niceness`: 0 for normal priority, to 19 for the lowest. */
export type WorkerSetup = { readonly niceness: number };

/** A plant's public key: what its replies are sanitised with. `keyId` names the bytes: workers keep what they made of them. */
export type SanitisingKey = { readonly keyId: string; readonly publicKey: Uint8Array };

/** Batches of one key to score by one head. One message for several, since each costs both threads some 50 us. */
export type ScoreTask = {
  readonly head: ScoringHead;
  readonly key: SanitisingKey;
  /** The batches' ciphertexts, one behind the other; the buffer is moved. */
  readonly ciphertexts: Uint8Array;
  readonly batches: readonly { readonly length: number; readonly lanes: readonly number[] }[];
};

/**
 * To each batch a worker answers with its replies, [outputs], or with a refusal that the pool turns back into a PipelineError. It never
 * throws: exceptions out of WASM cannot be sent, and what a pool sees as an error is a worker's death.
 */
export type Answer =
  | { readonly replies: readonly Uint8Array[] }
  | { readonly refused: { readonly code: ErrorCode; readonly what: string; readonly facts: Facts } };
