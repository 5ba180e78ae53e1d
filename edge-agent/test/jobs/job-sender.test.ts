import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { IDENTITY_KEY } from "@smile/he/identity-backend";
import { openEncryptor } from "@smile/he/open";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countRecords, readCsvRecords } from "../../src/jobs/csv-records.ts";
import { type RunningJobStore, runJob } from "../../src/jobs/job-sender.ts";
import { type Job, JobStore } from "../../src/jobs/job-store.ts";
import {
  contentFor,
  csvFile,
  deployment,
  expectedContent,
  FakeBroker,
  jobParts,
  lanes,
  newFolder,
  refusalOf,
  someRecords,
  streamOf,
} from "./job-fixture.ts";

const never = new AbortController().signal;
const newStore = () => new JobStore(join(newFolder(), "jobs.sqlite"), () => 1_700_000_000_000);

/** A store that a process has until it is killed: from then on nothing reaches the disk any more. */
function storeUntilKilled(store: JobStore, isDead: () => boolean): RunningJobStore {
  const alive = () => {
    if (isDead()) throw new Error("killed");
    return store;
  };
  return {
    job: (jobId) => alive().job(jobId),
    check: (jobId, content) => alive().check(jobId, content),
    acknowledged: (jobId) => alive().acknowledged(jobId),
    noteAcknowledged: (jobId, ...noted) => alive().noteAcknowledged(jobId, ...noted),
    finish: (jobId) => alive().finish(jobId),
  };
}

describe("a job", () => {
  it("sends the records of a file in order, L to a frame, signed, as one job of one time", async () => {
    const records = someRecords(10);
    const path = csvFile(`tenure,site\n${records.map(({ tenure, site }) => `${tenure},${site}\n`).join("")}`);
    const { records: count, fileHash } = await countRecords(path);
    using store = newStore();
    const { epoch } = store.begin("job", contentFor(count, fileHash));
    const broker = new FakeBroker();
    const end = await runJob(jobParts({ store, sender: broker, records: () => readCsvRecords(path, fileHash), now: () => 42 }), never);
    expect(end).toMatchObject({ state: "done", acknowledged: 4, missing: 0, unknown: 3 });
    expect(broker.content()).toEqual(expectedContent(records));
    for (const [i, frame] of [...broker.frames.values()].entries()) {
      expect(frame).toMatchObject({ plant: "plant", gateway: "gateway-1", epoch, sequence: i, block: 0, jobId: "job", frameCount: 4 });
      expect(frame).toMatchObject({ keyId: "cd".repeat(32), frameTimeMs: 1_700_000_000_000, closedAtMs: 42 });
    }
  });

  it("has every frame acknowledged once and every record in its place, however often its process is killed", async () => {
    const kill = fc.record({ afterFrames: fc.nat(12), loseAcknowledgements: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 70 }),
        fc.array(kill, { maxLength: 4 }),
        fc.integer({ min: 1, max: 5 }),
        async (n, kills, window) => {
          const records = someRecords(n);
          const path = join(newFolder(), "jobs.sqlite");
          const broker = new FakeBroker();
          const random = someTurns(n);
          {
            using store = new JobStore(path);
            store.begin("job", contentFor(n));
          }
          for (const { afterFrames, loseAcknowledgements } of kills) {
            let dead = false;
            let frames = 0;
            broker.before = async () => {
              if (frames++ === afterFrames) dead = true;
              if (dead && loseAcknowledgements) throw new Error("killed");
              for (let turns = random(); turns > 0; turns--) await Promise.resolve();
            };
            using store = new JobStore(path);
            const parts = jobParts({
              store: storeUntilKilled(store, () => dead),
              sender: broker,
              records: () => streamOf(records),
              window,
            });
            await runJob(parts, never).catch((error: Error) => expect(error.message).toBe("killed"));
          }
          broker.before = () => {};
          using store = new JobStore(path);
          const job = await runJob(jobParts({ store, sender: broker, records: () => streamOf(records), window }), never);
          const frameCount = Math.ceil(n / lanes);
          expect(job).toMatchObject({ state: "done", acknowledged: frameCount, frameCount, missing: 0, unknown: Math.floor(n / 3) });
          expect([...broker.frames.keys()].toSorted()).toEqual(
            Array.from({ length: frameCount }, (_, i) => `gateway-1/${job.epoch}/${i}`).toSorted(),
          );
          expect(broker.content()).toEqual(expectedContent(records));
        },
      ),
      { seed: 7, numRuns: 60 },
    );
  });

  it("sends none of the frames again that were acknowledged when it was stopped", async () => {
    const records = someRecords(90);
    using store = newStore();
    store.begin("job", contentFor(90));
    const stop = new AbortController();
    const broker = new FakeBroker();
    broker.before = (sequence) => {
      if (sequence === 20) stop.abort();
      if (stop.signal.aborted) throw new PipelineError("STOPPED", "the sender stops");
    };
    const job = await runJob(jobParts({ store, sender: broker, records: () => streamOf(records) }), stop.signal);
    expect(job.state).toBe("running");
    expect(job.acknowledged).toBe(broker.deliveries);
    broker.before = () => {};
    expect((await runJob(jobParts({ store, sender: broker, records: () => streamOf(records) }), never)).state).toBe("done");
    expect(broker.deliveries).toBe(30);
    expect(broker.content()).toEqual(expectedContent(records));
  });

  it("sends just the frames that are not acknowledged, and reads no record when all are", async () => {
    using store = newStore();
    store.begin("job", contentFor(15));
    store.noteAcknowledged("job", [0, 2, 3]);
    const broker = new FakeBroker();
    const run = (records: number) => runJob(jobParts({ store, sender: broker, records: () => streamOf(someRecords(records)) }), never);
    expect(await run(15)).toMatchObject({ state: "done", acknowledged: 5 });
    expect([...broker.frames.values()].map(({ sequence }) => sequence)).toEqual([1, 4]);
    expect(broker.content()).toEqual(expectedContent(someRecords(15)).filter((line) => /^[14]\./.test(line)));
    store.begin("all", contentFor(6));
    store.noteAcknowledged("all", [1, 0]);
    const records = () => streamOf([]);
    expect((await runJob(jobParts({ jobId: "all", store, sender: broker, records }), never)).state).toBe("done");
  });

  it("ends at once when it is stopped, though a sender waits for its broker", async () => {
    using store = newStore();
    store.begin("job", contentFor(90));
    const stop = new AbortController();
    const broker = new FakeBroker();
    broker.before = (sequence) => {
      if (sequence === 3) stop.abort();
      return new Promise(() => {});
    };
    const job = await runJob(jobParts({ store, sender: broker, records: () => streamOf(someRecords(90)), window: 4 }), stop.signal);
    expect(job).toMatchObject({ state: "running", acknowledged: 0 });
  });

  it.each(["pause", "cancel"] as const)("sends no further frame after a %s, and waits for those under way", async (how) => {
    const records = someRecords(90);
    using store = newStore();
    store.begin("job", contentFor(90));
    const broker = new FakeBroker();
    broker.before = (sequence) => {
      if (sequence === 9) store[how]("job");
    };
    const run = () => runJob(jobParts({ store, sender: broker, records: () => streamOf(records), window: 2 }), never);
    const job = await run();
    expect(job.state).toBe(how === "pause" ? "paused" : "cancelled");
    expect(job.acknowledged).toBe(10);
    expect(broker.deliveries).toBe(10);
    expect(await run()).toEqual(job);
    expect(broker.deliveries).toBe(10);
    if (how === "cancel") return;
    store.resume("job", contentFor(90));
    broker.before = () => {};
    expect((await run()).state).toBe("done");
    expect(broker.deliveries).toBe(30);
    expect(broker.content()).toEqual(expectedContent(records));
  });

  it("has at most `window` frames under way, tries again what may pass, and reports progress as it becomes durable", async () => {
    using store = newStore();
    store.begin("job", contentFor(300));
    const broker = new FakeBroker();
    const failed = new Set<number>();
    broker.before = async (sequence) => {
      await new Promise(setImmediate);
      if (sequence % 7 === 0 && failed.size !== failed.add(sequence).size) throw new PipelineError("BROKER_DOWN", "down");
    };
    const seen: Job[] = [];
    const onProgress = (job: Job) => {
      expect(store.job("job").acknowledged).toBe(job.acknowledged);
      seen.push(job);
    };
    await runJob(jobParts({ store, sender: broker, records: () => streamOf(someRecords(300)), window: 5, onProgress }), never);
    expect(broker.mostUnderWay).toBe(5);
    expect(broker.deliveries).toBe(100);
    const counts = seen.map(({ acknowledged }) => acknowledged);
    expect(counts.length).toBeGreaterThan(4);
    expect(counts).toEqual(counts.toSorted((a, b) => a - b));
    expect(counts.at(-1)).toBe(100);
  });

  it("goes on when its store is busy for a while", async () => {
    using store = newStore();
    store.begin("job", contentFor(300));
    let busy = 2;
    const sometimes: RunningJobStore = {
      ...storeUntilKilled(store, () => false),
      noteAcknowledged: (jobId, ...noted) => {
        if (busy-- > 0) throw new PipelineError("STORE_UNAVAILABLE", "busy");
        store.noteAcknowledged(jobId, ...noted);
      },
    };
    const broker = new FakeBroker();
    const job = await runJob(jobParts({ store: sometimes, sender: broker, records: () => streamOf(someRecords(300)) }), never);
    expect(job).toMatchObject({ state: "done", acknowledged: 100 });
    expect(broker.deliveries).toBe(100);
  });

  it("ends with the reason when a frame can never be sent, keeps what was acknowledged, and gives its memory back", async () => {
    using store = newStore();
    store.begin("job", contentFor(90));
    const broker = new FakeBroker();
    broker.before = (sequence) => {
      if (sequence === 5) throw new PipelineError("MESSAGE_TOO_LARGE", "too large");
    };
    let open = 0;
    const opener: typeof openEncryptor = async (params, key) => {
      const encryptor = await openEncryptor(params, key);
      open++;
      return { ...encryptor, [Symbol.dispose]: () => void open-- };
    };
    const parts = jobParts({ store, sender: broker, records: () => streamOf(someRecords(90)), window: 1, open: opener });
    expect((await refusalOf(runJob(parts, never))).code).toBe("MESSAGE_TOO_LARGE");
    expect(store.job("job")).toMatchObject({ state: "running", acknowledged: 5 });
    expect(open).toBe(0);
  });

  it.each([29, 31])("is refused, not done, when its 30 records have become %i", async (found) => {
    using store = newStore();
    store.begin("job", contentFor(30));
    const sender = new FakeBroker();
    const error = await refusalOf(runJob(jobParts({ store, sender, records: () => streamOf(someRecords(found)) }), never));
    expect(error).toMatchObject({ code: "JOB_CHANGED", facts: { jobId: "job", records: 30 } });
    expect(store.job("job").state).toBe("running");
  });

  it("is refused under another feature set, key, gateway or number of lanes, before anything is sent", async () => {
    using store = newStore();
    store.begin("job", contentFor(30));
    const sender = new FakeBroker();
    const parts = jobParts({ store, sender, records: () => streamOf(someRecords(30)) });
    const { featureSet } = deployment;
    for (const [field, changes] of [
      ["featureSetId", { deployment: { ...deployment, featureSet: { ...featureSet, clip: 3 } } }],
      ["lanes", { deployment: { ...deployment, lanes: 2 } }],
      ["keyId", { key: { keyId: "ef".repeat(32), bytes: IDENTITY_KEY } }],
      ["gateway", { gateway: "gateway-2" }],
    ] as const) {
      expect(await refusalOf(runJob({ ...parts, ...changes }, never))).toMatchObject({ code: "JOB_CHANGED", facts: { field } });
    }
    expect(await refusalOf(runJob({ ...parts, deployment: { ...deployment, lanes: 5000 } }, never))).toMatchObject({
      code: "DOCUMENT_INVALID",
    });
    expect(sender.deliveries).toBe(0);
  });
});

/** Small numbers in an order that a seed decides. */
function someTurns(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return state % 6;
  };
}
