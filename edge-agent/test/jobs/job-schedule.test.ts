import { EventEmitter, once } from "node:events";
import { PipelineError } from "@smile/errors/pipeline-error";
import { silentLogger } from "@smile/runtime/logging";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { checkCron, cronTicks } from "../../src/jobs/cron-ticks.ts";
import { type JobSchedule, type ScheduleParts, startJobSchedule } from "../../src/jobs/job-schedule.ts";
import { type Job, JobStore } from "../../src/jobs/job-store.ts";
import { contentFor } from "./job-fixture.ts";

const logger = silentLogger();

/** A source that keeps its jobs in a real store and sends nothing: each job rests as `rest` says, when it says. */
class FakeSource {
  readonly store = new JobStore(":memory:");
  readonly calls: string[] = [];
  readonly events = new EventEmitter();
  rest: (jobId: string) => Promise<void> = async (jobId) => this.done(jobId);
  looks = 0;
  #count = 0;

  jobs = () => {
    this.looks++;
    return this.store.jobs();
  };
  job = (jobId: string) => this.store.job(jobId);
  cancel = (jobId: string) => this.store.cancel(jobId);

  done(jobId: string): void {
    this.store.noteAcknowledged(jobId, [0]);
    this.store.finish(jobId);
  }

  async runNew(_data: string, options: { onProgress?: (job: Job) => void }): Promise<Job> {
    const jobId = `new-${++this.#count}`;
    const job = this.store.begin(jobId, contentFor(3));
    return await this.#send("begin", job, options);
  }

  async goOn(jobId: string, _data: string, options: { onProgress?: (job: Job) => void }): Promise<Job> {
    return await this.#send("go on", this.store.job(jobId), options);
  }

  async #send(how: string, job: Job, { onProgress }: { onProgress?: (job: Job) => void }): Promise<Job> {
    onProgress?.(job);
    this.calls.push(`${how} ${job.jobId}`);
    this.events.emit("call");
    await this.rest(job.jobId);
    return this.store.job(job.jobId);
  }
}

let source: FakeSource;
let tick: () => void;
let schedule: JobSchedule;
beforeEach(() => {
  source = new FakeSource();
});
afterEach(async () => {
  await schedule[Symbol.asyncDispose]();
});
function start(changes: Partial<ScheduleParts> = {}): void {
  const ticks = (onTick: () => void) => {
    tick = onTick;
    return { [Symbol.dispose]: () => {} };
  };
  schedule = startJobSchedule({ source, data: "people.csv", ticks, atStart: false, logger, lookMs: 5, ...changes });
}
async function calls(count: number): Promise<string[]> {
  while (source.calls.length < count) await once(source.events, "call");
  return source.calls;
}

it("begins a job at each tick, and none at a tick that comes while one is being sent", async () => {
  start();
  tick();
  await vi.waitUntil(() => schedule.counters.done === 1, { interval: 1 });
  const gate = Promise.withResolvers<void>();
  source.rest = async (jobId) => {
    await gate.promise;
    source.done(jobId);
  };
  tick();
  await calls(2);
  expect(schedule.framesLeft).toBe(1);
  tick();
  tick();
  gate.resolve();
  await vi.waitUntil(() => schedule.counters.done === 2, { interval: 1 });
  tick();
  await vi.waitUntil(() => schedule.counters.done === 3, { interval: 1 });
  expect(source.calls).toEqual(["begin new-1", "begin new-2", "begin new-3"]);
  expect(schedule.counters).toEqual({ begun: 3, done: 3, failed: 0, ticksSkipped: 2 });
  expect(schedule.framesLeft).toBe(0);
});

it("goes on with what a crash left before it begins anything, and leaves paused jobs alone until they are resumed", async () => {
  source.store.begin("crashed", contentFor(3));
  source.store.begin("paused", contentFor(3));
  source.store.pause("paused");
  start({ atStart: true });
  expect(await calls(2)).toEqual(["go on crashed", "begin new-1"]);
  source.store.resume("paused", {});
  expect(await calls(3)).toEqual(["go on crashed", "begin new-1", "go on paused"]);
});

it("tries a job that failed again at the next tick, not before, and the next one after it", async () => {
  source.rest = async () => {
    throw new PipelineError("BROKER_REFUSED", "no");
  };
  start();
  tick();
  await calls(1);
  await vi.waitUntil(() => source.looks >= 10, { interval: 1 });
  expect(source.calls).toEqual(["begin new-1"]);
  source.rest = async (jobId) => source.done(jobId);
  tick();
  expect(await calls(3)).toEqual(["begin new-1", "go on new-1", "begin new-2"]);
  expect(schedule.counters.failed).toBe(1);
});

it("cancels a job that can never go on since its file or key is another one", async () => {
  source.store.begin("left", contentFor(3));
  source.rest = async (jobId) => {
    if (jobId === "left") throw new PipelineError("JOB_CHANGED", "another file");
    source.done(jobId);
  };
  start({ atStart: true });
  expect(await calls(2)).toEqual(["go on left", "begin new-1"]);
  expect(source.job("left").state).toBe("cancelled");
});

it("takes the times of a cron expression, and refuses what is none", async () => {
  start();
  const ticked = Promise.withResolvers<void>();
  using _ticks = cronTicks({ expression: "* * * * * *", timezone: "Europe/Berlin", logger }, () => ticked.resolve());
  await ticked.promise;
  expect(() => checkCron({ expression: "every monday" })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  expect(() => checkCron({ expression: "0 6 * * 1", timezone: "Mars/Olympus" })).toThrow(
    expect.objectContaining({ code: "CONFIG_INVALID" }),
  );
  expect(() => checkCron({ expression: "0 6 * * 1" })).not.toThrow();
});
