import { isPipelineError } from "@smile/errors/pipeline-error";
import type { Service } from "@smile/runtime/lifecycle";
import type { Logger } from "@smile/runtime/logging";
import { unlessStopped } from "../unless-stopped.ts";
import type { JobSource } from "./job-source.ts";
import type { Job } from "./job-store.ts";

export type ScheduleCounters = { begun: number; done: number; failed: number; ticksSkipped: number };

export type JobSchedule = Service & {
  readonly counters: Readonly<ScheduleCounters>;
  /** Of the job that is being sent; 0 while none is. */
  readonly framesLeft: number;
};

export type ScheduleParts = {
  readonly source: Pick<JobSource, "jobs" | "job" | "runNew" | "goOn" | "cancel">;
  /** Path of the file, read anew at each tick. */
  readonly data: string;
  /** Calls back at each tick until disposed of. */
  readonly ticks: (onTick: () => void) => Disposable;
  /** Whether the start is a tick, too. */
  readonly atStart: boolean;
  readonly logger: Logger;
  /** How often jobs that somebody resumed are looked for. Default 2000. */
  readonly lookMs?: number;
};

/**
 * Begins a job of a file at each tick, unless one is being sent. Before, and whenever somebody resumes one, it goes on with jobs that run
 * in the store and nobody sends: a crash left them. What fails is told and tried again at the next tick; a job whose file or key is not
 * what it was can never end, so it is cancelled.
 */
export function startJobSchedule({ source, data, ticks, atStart, logger, lookMs = 2000 }: ScheduleParts): JobSchedule {
  const counters: ScheduleCounters = { begun: 0, done: 0, failed: 0, ticksSkipped: 0 };
  const stop = new AbortController();
  let due = atStart;
  let busy = false;
  let sending: Job | undefined;
  let changed = Promise.withResolvers<void>();
  /** Jobs that failed since the last tick. */
  let passedOver = new Set<string>();
  const wake = () => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  const onTick = () => {
    passedOver = new Set();
    if (busy) {
      counters.ticksSkipped++;
      logger.warn({ jobId: sending?.jobId }, "a job is still being sent at the time of the next one, which is left out");
      return;
    }
    due = true;
    wake();
  };
  const timer = setInterval(wake, lookMs).unref();
  const ticking = ticks(onTick);
  const done = work();
  done.catch(() => {}); // whoever awaits `done` sees the error
  return {
    done,
    counters,
    get framesLeft() {
      return sending === undefined ? 0 : sending.frameCount - sending.acknowledged;
    },
    async [Symbol.asyncDispose]() {
      ticking[Symbol.dispose]();
      clearInterval(timer);
      stop.abort();
      await done.catch(() => {});
    },
  };

  async function work(): Promise<void> {
    while (!stop.signal.aborted) {
      const news = changed.promise;
      const left = source.jobs().find(({ jobId, state }) => state === "running" && !passedOver.has(jobId));
      if (left !== undefined) await goOn(left);
      else if (due) {
        due = false;
        await begin();
      } else await unlessStopped(news, stop.signal);
    }
  }

  async function begin(): Promise<void> {
    let begun: Job | undefined;
    await attempt(async () => {
      const options = {
        signal: stop.signal,
        onProgress: (job: Job) => {
          if (begun === undefined) counters.begun++;
          begun = sending = job;
        },
      };
      return await source.runNew(data, options);
    });
    if (begun !== undefined && source.job(begun.jobId).state === "running") passedOver.add(begun.jobId);
  }

  async function goOn({ jobId }: Job): Promise<void> {
    // Whatever becomes of it, not again before the next tick: unless somebody pauses and resumes it.
    passedOver.add(jobId);
    const onProgress = (job: Job) => {
      sending = job;
    };
    const error = await attempt(() => source.goOn(jobId, data, { signal: stop.signal, onProgress }));
    if (isPipelineError(error, "JOB_CHANGED")) {
      source.cancel(jobId);
      logger.error({ jobId }, "a job cannot go on with another file or key than it began with: it is cancelled");
    }
    if (source.job(jobId).state === "paused") passedOver.delete(jobId);
  }

  /** @returns what it failed with, if it did */
  async function attempt(run: () => Promise<Job>): Promise<unknown> {
    busy = true;
    try {
      const { state } = await run();
      if (state === "done") counters.done++;
      return undefined;
    } catch (err) {
      if (stop.signal.aborted) return undefined;
      // Somebody else's doing is no failure of ours.
      if (isPipelineError(err, "JOB_BUSY")) logger.info({}, "another process sends a job of this source");
      else {
        counters.failed++;
        logger.error({ err }, "a job failed");
      }
      return err;
    } finally {
      busy = false;
      sending = undefined;
    }
  }
}
