import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { Row } from "@smile/features/spec";
import { silentLogger } from "@smile/runtime/logging";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { FrameSender } from "../src/publisher.ts";
import { startEdgeAgent } from "../src/service.ts";
import type { RowBatch, RowSource } from "../src/source.ts";
import { agentConfig, contentOf, expectedContent, newFolder, type OpenedFrame, openFrame, someRows } from "./fixture.ts";

const rows = someRows(40);

/** Everything that left the gateway, over all runs: by message id, with the bytes that it first had. */
class Outside {
  readonly frames = new Map<string, OpenedFrame>();
  readonly #bytes = new Map<string, string>();

  take(envelope: Uint8Array): void {
    const frame = openFrame(envelope);
    const bytes = Buffer.from(envelope).toString("base64");
    expect(this.#bytes.get(frame.id) ?? bytes, `message ${frame.id} sent with two contents`).toBe(bytes);
    this.#bytes.set(frame.id, bytes);
    this.frames.set(frame.id, frame);
  }
}

/** A source that can go back, as one that keeps rows until they are acknowledged does. */
class ReplayableSource implements RowSource {
  readonly #rows: readonly Row[];
  readonly #batch: number;
  readonly #beforeBatch: (index: number) => Promise<void>;
  acknowledged = 0;

  constructor(all: readonly Row[], batch: number, beforeBatch: (index: number) => Promise<void> = async () => {}) {
    this.#rows = all;
    this.#batch = batch;
    this.#beforeBatch = beforeBatch;
  }

  async *batches(stop: AbortSignal): AsyncGenerator<RowBatch> {
    for (let from = 0, index = 0; from < this.#rows.length && !stop.aborted; from += this.#batch, index++) {
      await this.#beforeBatch(index);
      const batch = this.#rows.slice(from, from + this.#batch);
      yield { rows: batch, position: from + batch.length, malformed: 0 };
    }
  }

  ack(position: number): void {
    this.acknowledged = position;
  }
}

/** Acknowledges what it is given until it is cut: from then on it neither delivers nor answers. */
function sender(outside: Outside, cut: { done: boolean }): FrameSender & AsyncDisposable {
  const closed = Promise.withResolvers<never>();
  closed.promise.catch(() => {});
  return {
    send: async (envelope) => {
      if (cut.done) return closed.promise;
      outside.take(envelope);
      await new Promise(setImmediate);
      if (cut.done) return closed.promise; // delivered, and the acknowledgement was lost
    },
    [Symbol.asyncDispose]: async () => closed.reject(new PipelineError("STOPPED", "closed")),
  };
}

/** Runs to the end. */
async function runWhole(store: string, source: RowSource, outside: Outside) {
  await using agent = await startEdgeAgent(
    agentConfig(store),
    { source, openSender: async () => sender(outside, { done: false }) },
    silentLogger(),
  );
  await agent.done;
  expect(agent.spool).toEqual({ frames: 0, bytes: 0 });
  return { counters: agent.counters, epoch: agent.epoch };
}

/** Runs until `crashAt`, and leaves behind what the disk held at that moment, as a kill does. */
async function runAndCrash(store: string, all: readonly Row[], at: { batch: number; crashAt: number; commitMs: number }, outside: Outside) {
  const cut = { done: false };
  const crashed = Promise.withResolvers<number>();
  const left = `${store}-left`;
  const source = new ReplayableSource(all, at.batch, async (index) => {
    if (index < at.crashAt) return new Promise(setImmediate);
    cut.done = true;
    for (const suffix of ["", "-wal"]) if (existsSync(store + suffix)) copyFileSync(store + suffix, left + suffix);
    crashed.resolve(source.acknowledged);
    return new Promise(() => {});
  });
  {
    await using agent = await startEdgeAgent(
      agentConfig(store, { commitMs: at.commitMs }),
      { source, openSender: async () => sender(outside, cut) },
      silentLogger(),
    );
    const acknowledged = await Promise.race([crashed.promise, agent.done]);
    if (acknowledged === undefined) throw new Error("the source ended before the crash");
    return { left, acknowledged };
  }
}

const wanted = new Outside();
await runWhole(join(newFolder(), "edge.db"), new ReplayableSource(rows, 7), wanted);

it("sends every window that the lift makes of the rows, in its machine's lane", () => {
  expect(contentOf(wanted.frames.values())).toEqual(expectedContent(rows));
});

it("after crashes anywhere goes on bit for bit: nothing lost, nothing twice, no id used for other content", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        batch: fc.integer({ min: 1, max: 30 }),
        crashes: fc.array(fc.record({ part: fc.nat(999), commitMs: fc.constantFrom(0, 3, 10_000) }), {
          minLength: 1,
          maxLength: 2,
        }),
        /** How far a source goes back behind what was acknowledged. */
        goesBack: fc.constantFrom(0, 0, 7, 60),
      }),
      async ({ batch, crashes, goesBack }) => {
        const outside = new Outside();
        let store = join(newFolder(), "edge.db");
        let from = 0;
        for (const { part, commitMs } of crashes) {
          const rest = rows.slice(from);
          const crashAt = Math.floor((rest.length / batch) * (part / 1000));
          const { left, acknowledged } = await runAndCrash(store, rest, { batch, crashAt, commitMs }, outside);
          store = left;
          from = Math.max(0, from + acknowledged - goesBack);
        }
        const { counters } = await runWhole(store, new ReplayableSource(rows.slice(from), batch), outside);
        expect(contentOf(outside.frames.values())).toEqual(contentOf(wanted.frames.values()));
        // With everything uninterrupted every row counts once; what is covered already is called replayed, not late.
        expect(counters.rows).toBe(rows.length - from);
      },
    ),
    { seed: 3, numRuns: 40 },
  );
});

it("calls rows that a finished run had covered replayed, and sends nothing again", async () => {
  const store = join(newFolder(), "edge.db");
  const outside = new Outside();
  const first = await runWhole(store, new ReplayableSource(rows, 50), outside);
  const sent = outside.frames.size;
  const second = await runWhole(store, new ReplayableSource(rows, 50), outside);
  expect(second.epoch).toBe(first.epoch);
  expect(outside.frames.size).toBe(sent);
  expect(second.counters).toMatchObject({ rows: rows.length, replayed: rows.length, late: 0, duplicate: 0, windows: 0, frames: 0 });
});

it("gives a lost store another epoch", async () => {
  const [a, b] = [new Outside(), new Outside()];
  const first = await runWhole(join(newFolder(), "edge.db"), new ReplayableSource(rows, 50), a);
  const second = await runWhole(join(newFolder(), "edge.db"), new ReplayableSource(rows, 50), b);
  expect(second.epoch).not.toBe(first.epoch);
  expect(contentOf(a.frames.values())).toEqual(contentOf(b.frames.values()));
});
