import { type ErrorCode, isPipelineError } from "@smile/errors/pipeline-error";
import type { Logger } from "./logging.ts";

/**
 * What every `start...` function returns. `done` rejects with whatever ended the work, and resolves where the work has an end;
 * disposing stops intake first, finishes or abandons what is under way, and closes what was opened, in reverse order.
 */
export interface Service extends AsyncDisposable {
  readonly done: Promise<void>;
}

/** Exit codes of every command. 78 is EX_CONFIG of sysexits.h: starting again without a change is pointless. */
export const exitCodes = { stopped: 0, failed: 1, stoppedTooLate: 2, misconfigured: 78 } as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Codes that no restart cures: a person has to change a file, a setting or a key first. */
const misconfigurations = new Set<ErrorCode>([
  ...(["CONFIG_INVALID", "DOCUMENT_INVALID", "FILE_MISSING", "FILE_DAMAGED", "PLAN_REFUSED", "KEY_MISMATCH"] as const),
  ...(["SIGNATURE_INVALID", "REGISTER_STALE", "CERTIFICATE_INVALID", "TLS_REQUIRED", "VERSION_UNSUPPORTED", "AUDIT_BROKEN"] as const),
  ...(["PASSPHRASE_MISSING", "PASSPHRASE_WRONG"] as const),
]);

/** The part of `process` that announces signals. */
export type SignalSource = {
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  off(signal: NodeJS.Signals, listener: () => void): unknown;
};

/**
 * An AbortSignal that SIGINT and SIGTERM trip. Repeated signals change nothing: npm hands Ctrl-C on to a child that the terminal has
 * told already, so a second one is no sign of impatience, and the stop is bounded in time anyway.
 * @param source `process` in a `main.ts`
 */
export function stopOnSignals(source: SignalSource): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const stop = () => controller.abort();
  const names = ["SIGINT", "SIGTERM"] as const;
  for (const name of names) source.on(name, stop);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const name of names) source.off(name, stop);
    },
  };
}

/**
 * Run one service from start to stop: until its work ends or the signal asks it to stop; then dispose it within bounded time.
 * Ends no process: a `main.ts` passes the result to `process.exit`, because after `stoppedTooLate` something still holds the event loop.
 * @param start given the signal, so that a slow start can be cut short
 * @param run.shutdownMs from the wish to stop until the answer `stoppedTooLate`; default 10 s
 * @returns `stopped` after a signal or when the work is complete, `failed` or `misconfigured` with the error logged
 */
export async function runService(
  start: (signal: AbortSignal) => Promise<Service>,
  run: { signal: AbortSignal; logger: Logger; shutdownMs?: number },
): Promise<ExitCode> {
  const { signal, shutdownMs = 10_000 } = run;
  const stopWanted = Promise.withResolvers<void>();
  const onStop = () => stopWanted.resolve();
  signal.addEventListener("abort", onStop, { once: true });
  if (signal.aborted) onStop();

  const timeIsUp = Promise.withResolvers<ExitCode>();
  let timer: NodeJS.Timeout | undefined;
  const startTimer = () => {
    timer ??= setTimeout(() => {
      run.logger.error({ shutdownMs }, "did not stop in time");
      timeIsUp.resolve(exitCodes.stoppedTooLate);
    }, shutdownMs);
  };
  void stopWanted.promise.then(startTimer);

  try {
    return await Promise.race([live(), timeIsUp.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onStop);
  }

  async function live(): Promise<ExitCode> {
    let code: ExitCode = exitCodes.stopped;
    try {
      await using service = await start(signal);
      try {
        await Promise.race([service.done, stopWanted.promise]);
      } catch (error) {
        code = report(error);
      }
      startTimer();
    } catch (error) {
      const cutShort = signal.aborted && (error === signal.reason || isPipelineError(error, "STOPPED"));
      if (!cutShort) code = report(error);
    }
    return code;
  }

  function report(error: unknown): ExitCode {
    run.logger.error({ err: error }, "ended by an error");
    return isPipelineError(error) && misconfigurations.has(error.code) ? exitCodes.misconfigured : exitCodes.failed;
  }
}
