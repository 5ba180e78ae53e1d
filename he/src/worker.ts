import { setPriority } from "node:os";
import { PipelineError } from "@smile/errors/pipeline-error";
import { LRUCache } from "lru-cache";
import { move, Piscina, transferableSymbol, valueSymbol } from "piscina";
import type { Evaluator, ZeroSource } from "./backend.ts";
import { openEvaluator } from "./open.ts";
import { type Params, paramsId } from "./params.ts";
import { type PreparedHead, prepareHead, type ScoringHead, scoreBatch } from "./scoring.ts";
import type { Answer, SanitisingKey, ScoreTask, WorkerSetup } from "./worker-protocol.ts";

/**
 * A scoring worker: one WASM instance per set of parameters in use, heads prepared once. It keeps no secret and no state that
 * another worker could not build again, so it may die at any time.
 */

const { niceness } = Piscina.workerData as WorkerSetup;
// setpriority(2): on Linux 0 is the calling thread; elsewhere it is the whole process, which may be in a hurry.
if (niceness > 0 && process.platform === "linux") setPriority(0, niceness);

/** Above this much WASM memory an evaluator is replaced: 16 MB is what an instance starts with. */
const MEMORY_LIMIT_BYTES = 64 * 1024 * 1024;
/** Prepared heads that are kept. */
const PREPARED_HEADS = 256;
/** Public keys that are kept loaded: 32 or 64 KB of WASM memory each. */
const LOADED_KEYS = 64;
/** Sets of parameters that are kept ready. */
const WORKBENCHES = 4;

/** An evaluator and what was prepared for it; what leaves a cache gives its WASM memory back. */
type Workbench = {
  readonly evaluator: Evaluator;
  readonly heads: LRUCache<string, PreparedHead>;
  readonly zeros: LRUCache<string, ZeroSource>;
};
const workbenches = new LRUCache<string, Workbench>({ max: WORKBENCHES, dispose: discard });

export default async function work({ head, key, ciphertexts, batches }: ScoreTask): Promise<unknown> {
  const answers: Answer[] = [];
  let at = 0;
  for (const { length, lanes } of batches) {
    answers.push(await answerTo(() => score(head, key, ciphertexts.subarray(at, at + length), lanes)));
    at += length;
  }
  // Hands the replies' memory over instead of copying it.
  const buffers = answers.flatMap((answer) => ("replies" in answer ? answer.replies.map(({ buffer }) => buffer) : []));
  return move({ [transferableSymbol]: buffers, [valueSymbol]: answers });
}

async function answerTo(replies: () => Promise<readonly Uint8Array[]>): Promise<Answer> {
  try {
    return { replies: await replies() };
  } catch (error) {
    const { code, what, facts } = error instanceof PipelineError ? error : unexpected(error);
    return { refused: { code, what, facts } };
  }
}

/** What threw may have left SEAL's memory in disorder: the next task starts with new instances. */
function unexpected(error: unknown): PipelineError {
  workbenches.clear();
  return new PipelineError("SCORING_FAILED", `the scoring worker met ${nameOf(error)}`);
}

/** The kind of an error and no more: its message could quote data. C++ exceptions carry [type, text], and SEAL's texts are fixed. */
function nameOf(error: unknown): string {
  if (!(error instanceof Error)) {
    const message = (error as { message?: unknown } | undefined)?.message;
    return Array.isArray(message) ? message.join(": ") : "an exception";
  }
  return error.name;
}

function discard({ evaluator, heads, zeros }: Workbench): void {
  heads.clear();
  zeros.clear();
  evaluator[Symbol.dispose]();
}

async function score(head: ScoringHead, key: SanitisingKey, ciphertext: Uint8Array, lanes: readonly number[]): Promise<Uint8Array[]> {
  const bench = await workbenchFor(head.params);
  // The polynomials are the cached ones; key mode and flooding are those of this deployment of the head.
  return scoreBatch(bench.evaluator, { ...preparedHead(bench, head), head }, ciphertext, lanes, zerosOf(bench, key));
}

async function workbenchFor(params: Params): Promise<Workbench> {
  const id = paramsId(params);
  const kept = workbenches.get(id);
  if (kept !== undefined && kept.evaluator.memoryBytes() <= MEMORY_LIMIT_BYTES) return kept;
  const evaluator = await openEvaluator(params);
  const bench: Workbench = {
    evaluator,
    heads: new LRUCache({ max: PREPARED_HEADS, dispose: (head) => head[Symbol.dispose]() }),
    zeros: new LRUCache({ max: LOADED_KEYS, dispose: (zeros) => zeros[Symbol.dispose]() }),
  };
  workbenches.set(id, bench);
  return bench;
}

function preparedHead({ evaluator, heads }: Workbench, head: ScoringHead): PreparedHead {
  const kept = heads.get(head.headId);
  if (kept !== undefined) return kept;
  const prepared = prepareHead(evaluator, head);
  heads.set(head.headId, prepared);
  return prepared;
}

function zerosOf({ evaluator, zeros }: Workbench, { keyId, publicKey }: SanitisingKey): ZeroSource {
  const kept = zeros.get(keyId);
  if (kept !== undefined) return kept;
  const opened = evaluator.openZeros(publicKey);
  zeros.set(keyId, opened);
  return opened;
}
