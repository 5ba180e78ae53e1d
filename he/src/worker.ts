import { setPriority } from "node:os";
import { PipelineError } from "@smile/errors/pipeline-error";
import { LRUCache } from "lru-cache";
import { move, Piscina, transferableSymbol, valueSymbol } from "piscina";
import type { Evaluator } from "./backend.ts";
import { openEvaluator } from "./open.ts";
import { type Params, paramsId } from "./params.ts";
import { type Sanitiser, toSanitiser } from "./sanitise.ts";
import { type PreparedHead, prepareHead, type ScoringHead, scoreBatch } from "./scoring.ts";
import type { Answer, SanitiseTask, ScoreTask, Task, WorkerSetup } from "./worker-protocol.ts";

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

/** Sets of parameters that are kept ready. */
const WORKBENCHES = 4;

/** An evaluator and what was prepared for it; what leaves a cache gives its WASM memory back. */
type Workbench = { readonly evaluator: Evaluator; readonly heads: LRUCache<string, PreparedHead> };
const workbenches = new LRUCache<string, Workbench>({ max: WORKBENCHES, dispose: discard });

export default async function work(task: Task): Promise<unknown> {
  try {
    return task.kind === "score" ? await score(task) : await sanitise(task);
  } catch (error) {
    const { code, what, facts } = error instanceof PipelineError ? error : unexpected(error);
    return { refused: { code, what, facts } } satisfies Answer<never>;
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

function discard({ evaluator, heads }: Workbench): void {
  heads.clear();
  evaluator[Symbol.dispose]();
}

async function score({ head, ciphertext, lanes, sanitisers }: ScoreTask) {
  const bench = await workbenchFor(head.params);
  // The polynomials are the cached ones; key mode and flooding are those of this deployment of the head.
  const replies = scoreBatch(bench.evaluator, { ...preparedHead(bench, head), head }, ciphertext, lanes, sanitisers);
  return moved(replies);
}

async function sanitise({ params, publicKey, count }: SanitiseTask) {
  const { evaluator } = await workbenchFor(params);
  using zeros = evaluator.openZeros(publicKey);
  return moved(Array.from({ length: count }, (): Sanitiser => toSanitiser(zeros.next())));
}

async function workbenchFor(params: Params): Promise<Workbench> {
  const id = paramsId(params);
  const kept = workbenches.get(id);
  if (kept !== undefined && kept.evaluator.memoryBytes() <= MEMORY_LIMIT_BYTES) return kept;
  const evaluator = await openEvaluator(params);
  const bench: Workbench = { evaluator, heads: new LRUCache({ max: PREPARED_HEADS, dispose: (head) => head[Symbol.dispose]() }) };
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

/** Hands the arrays' memory over instead of copying it. */
function moved<T extends Uint8Array | Uint32Array>(arrays: T[]): unknown {
  const answer: Answer<T[]> = { value: arrays };
  return move({ [transferableSymbol]: arrays.map((array) => array.buffer), [valueSymbol]: answer });
}
