import { PipelineError } from "@smile/errors/pipeline-error";

/** Gives each client its answers in the order of its messages, whichever is decided first. */
export class AnswersInOrder {
  readonly #last = new Map<object, Promise<void>>();

  add(client: object, decided: Promise<void>, answer: (error?: Error | null) => void): void {
    decided.catch(() => {}); // seen below, once those before it are answered
    const before = this.#last.get(client) ?? Promise.resolve();
    const answered = before
      .then(() => decided)
      .then(
        () => answer(null),
        (error: unknown) => answer(asError(error)),
      )
      .finally(() => {
        if (this.#last.get(client) === answered) this.#last.delete(client);
      });
    this.#last.set(client, answered);
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#last.values());
  }
}

/** @throws {PipelineError} LOG_UNAVAILABLE when the work takes longer */
export async function within(ms: number, work: () => Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new PipelineError("LOG_UNAVAILABLE", `no answer within ${ms} ms`, { ms })), ms);
  try {
    await Promise.race([work(), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
