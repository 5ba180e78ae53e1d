import { EventEmitter } from "node:events";
import { PipelineError } from "@smile/errors/pipeline-error";
import { expect, it } from "vitest";
import { exitCodes, runService, type Service, stopOnSignals } from "../src/lifecycle.ts";
import { createLogger, silentLogger } from "../src/logging.ts";

const never = () => new Promise<void>(() => {});
const service = (done: Promise<void>, dispose: () => Promise<void> = async () => {}): Service => ({ done, [Symbol.asyncDispose]: dispose });
const logger = silentLogger();

it("stops on SIGTERM, disposes and answers 0", async () => {
  const signals = new EventEmitter();
  using stop = stopOnSignals(signals);
  const steps: string[] = [];
  const running = runService(
    async () => {
      queueMicrotask(() => signals.emit("SIGTERM"));
      return service(never(), async () => void steps.push("disposed"));
    },
    { signal: stop.signal, logger },
  );
  expect(await running).toBe(exitCodes.stopped);
  expect(steps).toEqual(["disposed"]);
});

it("leaves no listener behind", () => {
  const signals = new EventEmitter();
  stopOnSignals(signals)[Symbol.dispose]();
  expect(signals.eventNames()).toEqual([]);
});

it("answers 0 when the work is complete, and disposes", async () => {
  const steps: string[] = [];
  const start = async () => service(Promise.resolve(), async () => void steps.push("disposed"));
  expect(await runService(start, { signal: new AbortController().signal, logger })).toBe(exitCodes.stopped);
  expect(steps).toEqual(["disposed"]);
});

it("logs what ended the work and answers 1, or 78 when a person has to change something", async () => {
  const lines: string[] = [];
  const to = createLogger({ service: "test", to: { write: (line: string) => void lines.push(line) } });
  const run = { signal: new AbortController().signal, logger: to };
  expect(await runService(async () => service(Promise.reject(new Error("the belt came off"))), run)).toBe(exitCodes.failed);
  expect(lines.join("")).toContain("the belt came off");
  const misconfigured = async (): Promise<Service> => {
    throw new PipelineError("CONFIG_INVALID", "port: expected number");
  };
  expect(await runService(misconfigured, run)).toBe(exitCodes.misconfigured);
  expect(lines.join("")).toContain("port: expected number");
});

it("answers 2 when stopping takes longer than its bound", async () => {
  const stop = new AbortController();
  const start = async () => {
    queueMicrotask(() => stop.abort());
    return service(never(), never);
  };
  expect(await runService(start, { signal: stop.signal, logger, shutdownMs: 5 })).toBe(exitCodes.stoppedTooLate);
});

it("bounds a start that does not heed the signal, and forgives one that does", async () => {
  const deaf = async () => {
    await never();
    return service(never());
  };
  expect(await runService(deaf, { signal: AbortSignal.abort(), logger, shutdownMs: 5 })).toBe(exitCodes.stoppedTooLate);
  const heeding = async (signal: AbortSignal) => {
    signal.throwIfAborted();
    return service(never());
  };
  expect(await runService(heeding, { signal: AbortSignal.abort(), logger })).toBe(exitCodes.stopped);
});
