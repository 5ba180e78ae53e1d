import { PipelineError } from "@smile/errors/pipeline-error";
import { move, transferableSymbol, valueSymbol } from "piscina";
import type { Evaluator } from "./backend.ts";
import { openEvaluator } from "./open.ts";
import { type Params, paramsId } from "./params.ts";
import { type Sanitiser, toSanitiser } from "./sanitise.ts";
import { type PreparedHead, prepareHead, type ScoringHead, scoreBatch } from "./scoring.ts";
import type { Answer, SanitiseTask, ScoreTask, Task } from "./worker-protocol.ts";

/**
 * A scoring worker: one WASM instance per set of parameters in use, heads prepared once. It keeps no secret and no state that
 * another worker could not build again, so it may die at any time.
 */

/** Above this much WASM memory an evaluator is replaced: 16 MB is what an instance starts with. */
const MEMORY_LIMIT_BYTES = 64 * 1024 * 1024;
/** Prepared heads that are kept; the one unused for longest goes first. */
const PREPARED_HEADS = 256;

type Workbench = { readonly evaluator: Evaluator; readonly heads: Map<string, PreparedHead> };
const workbenches = new Map<string, Workbench>();

export default async function work(task: Task): Promise<unknown> {
  try {
    return task.kind === "score" ? await score(task) : await sanitise(task);
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error;
    return { refused: { code: error.code, what: error.what, facts: error.facts } } satisfies Answer<never>;
  }
}

async function score({ head, ciphertext, lanes, sanitisers }: ScoreTask) {
  const bench = await workbenchFor(head.params);
  const replies = scoreBatch(bench.evaluator, preparedHead(bench, head), ciphertext, lanes, sanitisers);
  return moved(replies);
}

async function sanitise({ params, publicKey, count }: SanitiseTask) {
  const { evaluator } = await workbenchFor(params);
  using zeros = evaluator.openZeros(publicKey);
  return moved(Array.from({ length: count }, (): Sanitiser => toSanitiser(zeros.next())));
}

async function workbenchFor(params: Params): Promise<Workbench> {
  const id = paramsId(params);
  let bench = workbenches.get(id);
  if (bench !== undefined && bench.evaluator.memoryBytes() > MEMORY_LIMIT_BYTES) {
    workbenches.delete(id);
    for (const head of bench.heads.values()) head[Symbol.dispose]();
    bench.evaluator[Symbol.dispose]();
    bench = undefined;
  }
  if (bench === undefined) {
    bench = { evaluator: await openEvaluator(params), heads: new Map() };
    workbenches.set(id, bench);
  }
  return bench;
}

function preparedHead({ evaluator, heads }: Workbench, head: ScoringHead): PreparedHead {
  const prepared = heads.get(head.headId) ?? prepareHead(evaluator, head);
  heads.delete(head.headId);
  heads.set(head.headId, prepared);
  if (heads.size > PREPARED_HEADS) {
    const [oldest] = heads;
    heads.delete(oldest![0]);
    oldest![1][Symbol.dispose]();
  }
  return prepared;
}

/** Hands the arrays' memory over instead of copying it. */
function moved<T extends Uint8Array | Uint32Array>(arrays: T[]): unknown {
  const answer: Answer<T[]> = { value: arrays };
  return move({ [transferableSymbol]: arrays.map((array) => array.buffer), [valueSymbol]: answer });
}
