import { catalogue } from "./catalogue.ts";

/** A code of the catalogue: what programs match on. */
export type ErrorCode = keyof typeof catalogue;

/** Names, ids, sizes and limits that explain an error. Never a sensor value, a score or key material. */
export type Facts = Readonly<Record<string, string | number | boolean>>;

/** The one error class of SMiLe Stream: a code for programs, a sentence and a remedy for people. */
export class PipelineError extends Error {
  override readonly name = "PipelineError";
  readonly code: ErrorCode;
  readonly facts: Facts;
  /** The sentence without code and remedy, from which the error can be built again on another thread. */
  readonly what: string;

  /**
   * @param code entry of the catalogue
   * @param what one sentence without full stop: what was wrong, naming the offending field, file or id
   * @param facts ids, sizes and limits; never a sensor value, a score or key material
   * @param cause the error underneath, if any
   */
  constructor(code: ErrorCode, what: string, facts: Facts = {}, cause?: unknown) {
    super(`${what} [${code}] Fix: ${catalogue[code].fix}.`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.facts = facts;
    this.what = what;
  }

  /** True when the same call may succeed later without anyone changing anything. */
  get retriable(): boolean {
    return catalogue[this.code].retriable;
  }
}

/** Narrows an unknown error to a `PipelineError`, optionally of one code. */
export function isPipelineError(error: unknown, code?: ErrorCode): error is PipelineError {
  return error instanceof PipelineError && (code === undefined || error.code === code);
}
