import type { ErrorCode, Facts } from "@smile/errors/pipeline-error";
import type { Params } from "./params.ts";
import type { Sanitiser } from "./sanitise.ts";
import type { ScoringHead } from "./scoring.ts";

/** What a worker starts with. `niceness`: 0 for normal priority, to 19 for the lowest. */
export type WorkerSetup = { readonly niceness: number };

/** A batch to score by one head. The sanitisers' buffers are moved, so that none can serve twice. */
export type ScoreTask = {
  readonly kind: "score";
  readonly head: ScoringHead;
  readonly ciphertext: Uint8Array;
  readonly lanes: readonly number[];
  readonly sanitisers: readonly Sanitiser[];
};

/** Sanitisers to make ahead, under one plant's key. */
export type SanitiseTask = { readonly kind: "sanitise"; readonly params: Params; readonly publicKey: Uint8Array; readonly count: number };

export type Task = ScoreTask | SanitiseTask;

/**
 * A worker answers with what was asked for, or with a refusal that the pool turns back into a PipelineError. It never throws:
 * exceptions out of WASM cannot be sent, and what a pool sees as an error is a worker's death.
 */
export type Answer<T> =
  | { readonly value: T }
  | { readonly refused: { readonly code: ErrorCode; readonly what: string; readonly facts: Facts } };
