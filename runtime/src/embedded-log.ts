import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { PipelineError } from "@smile/errors/pipeline-error";
import { ChangeSignal } from "./change-signal.ts";
import { EmbeddedMember } from "./embedded-member.ts";
import { EmbeddedStore } from "./embedded-store.ts";
import type { GroupMember, Log, LogRecord, OutRecord, PartitionEnds, Position, ReadLimits, TopicSpec } from "./log.ts";
import type { Logger } from "./logging.ts";

export type EmbeddedLogOptions = {
  /** File of the log, made when missing together with its folder. Several processes of one machine may open it; no network file system. */
  readonly path: string;
  readonly logger: Logger;
  /** Bytes that may wait for their commit; an append beyond is refused. Default 64 MiB. */
  readonly maxWaitingBytes?: number;
  /** Without a sign of life for this long, a member of another machine or a stuck process loses its group. Default 10 s. */
  readonly leaseMs?: number;
  /** Wall clock in ms, for timestamps, leases and retention. */
  readonly now?: () => number;
};

type Waiting = {
  readonly records: readonly OutRecord[];
  readonly bytes: number;
  readonly resolve: (positions: readonly Position[]) => void;
  readonly reject: (error: unknown) => void;
};

/** One transaction holds about this much, so that the event loop has its turn between two. */
const transactionBytes = 8 * 1024 * 1024;
/** Settled records wait this long for an append to share its transaction, before they get one of their own. */
const commitEveryMs = 100;
/** How soon a commit of another process is noticed. */
const lookEveryMs = 20;
/**
 * SQLite lets whoever waits for the lock try again and again, with up to 100 ms in between: a process that writes without a pause keeps
 * another out until that one's patience ends. Between two transactions of one that shares the file there is this much.
 */
const pauseMs = 2;
/** Whoever wrote this recently may write again. */
const sharedForMs = 1000;
const trimEveryMs = 60_000;
const trimRecords = 500;

/** A log in one SQLite file. See `openEmbeddedLog`. */
export class EmbeddedLog implements Log {
  readonly #store: EmbeddedStore;
  readonly #logger: Logger;
  readonly #changes: ChangeSignal;
  readonly #maxWaitingBytes: number;
  readonly #leaseMs: number;
  readonly #now: () => number;
  readonly #members = new Set<EmbeddedMember>();
  readonly #stopping = new AbortController();
  readonly #trimTimer: NodeJS.Timeout;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;
  #commitTimer: NodeJS.Timeout | undefined;
  #othersVersion = -1;
  #othersWroteMs = Number.NEGATIVE_INFINITY;

  constructor(options: EmbeddedLogOptions) {
    this.#store = new EmbeddedStore(options.path);
    this.#logger = options.logger;
    this.#changes = new ChangeSignal(() => this.#store.othersVersion(), lookEveryMs);
    this.#maxWaitingBytes = options.maxWaitingBytes ?? 64 * 1024 * 1024;
    this.#leaseMs = options.leaseMs ?? 10_000;
    this.#now = options.now ?? Date.now;
    this.#trimTimer = setInterval(() => {
      this.trim().catch((error: unknown) => this.#logger.warn({ err: error }, "retention could not delete"));
    }, trimEveryMs).unref();
  }

  async ensureTopics(topics: readonly TopicSpec[]): Promise<void> {
    this.#step(() =>
      this.#store.transaction(() => {
        for (const topic of topics) this.#store.ensureTopic(topic);
      }),
    );
  }

  async append(records: readonly OutRecord[]): Promise<readonly Position[]> {
    this.#step(() => {
      for (const { topic } of records) this.#store.slotsOf(topic);
    });
    const bytes = records.reduce((sum, { value }) => sum + value.length, 0);
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes > this.#maxWaitingBytes) {
      const facts = { waitingBytes: this.#waitingBytes, bytes, maxWaitingBytes: this.#maxWaitingBytes };
      throw new PipelineError("LOG_UNAVAILABLE", `${this.#waitingBytes} bytes wait to be written, ${bytes} more are too many`, facts);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ records, bytes, resolve, reject });
      this.#waitingBytes += bytes;
      this.#writing ??= this.#writeAll();
    });
  }

  async join(group: string, topics: readonly string[]): Promise<GroupMember> {
    return this.#step(() => {
      const member = new EmbeddedMember({
        group,
        topics,
        store: this.#store,
        changes: this.#changes,
        leaseMs: this.#leaseMs,
        now: this.#now,
        stopping: this.#stopping.signal,
        onSettled: () => this.#commitSoon(),
        onLeft: () => this.#members.delete(member),
      });
      this.#members.add(member);
      return member;
    });
  }

  async read(from: Position, limits: ReadLimits, signal: AbortSignal): Promise<readonly LogRecord[]> {
    const slot = this.#step(() => this.#store.slotOf(from.topic, from.partition));
    const untilMs = performance.now() + limits.waitMs;
    for (;;) {
      if (signal.aborted) return [];
      const { since, found } = this.#step(() => ({
        since: this.#changes.now(),
        found: this.#store.fetch(slot, from.offset, limits),
      }));
      const leftMs = untilMs - performance.now();
      if (found.length > 0 || leftMs <= 0) return found;
      await this.#changes.wait(since, leftMs, signal);
    }
  }

  async topicId(topic: string): Promise<string> {
    return this.#step(() => this.#store.topicId(topic));
  }

  async ends(topic: string): Promise<readonly PartitionEnds[]> {
    return this.#step(() => this.#store.slotsOf(topic).map((slot) => this.#store.ends(slot)));
  }

  async groupLag(group: string, topic: string): Promise<number> {
    return this.#step(() => this.#store.slotsOf(topic).reduce((sum, slot) => sum + this.#store.groupLag(group, slot), 0));
  }

  /** Deletes what retention no longer asks for: older than the topic's `retentionMs` and settled by every group. Runs by itself each minute. */
  async trim(): Promise<void> {
    while (!this.#stopping.signal.aborted && this.#step(() => this.#store.transaction(() => this.#store.trim(this.#now(), trimRecords)))) {
      await nextTurn();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    this.#stopping.abort();
    this.#changes.announce(); // those who wait for records learn that none will come
    clearInterval(this.#trimTimer);
    await this.#writing;
    clearTimeout(this.#commitTimer);
    for (const member of this.#members) await member[Symbol.asyncDispose]();
    this.#store[Symbol.dispose]();
  }

  /** Group commit: everything that was appended in one turn of the event loop shares a transaction, and so the disk's slow flush. */
  async #writeAll(): Promise<void> {
    for (let isFirst = true; this.#waiting.length > 0; isFirst = false) {
      await (!isFirst && this.#isShared() ? delay(pauseMs) : nextTurn());
      let bytes = 0;
      let count = 0;
      while (count < this.#waiting.length && bytes < transactionBytes) bytes += this.#waiting[count++]!.bytes;
      const batch = this.#waiting.splice(0, count);
      this.#waitingBytes -= bytes;
      try {
        const positions = this.#write(batch);
        for (const [i, { resolve }] of batch.entries()) resolve(positions[i]!);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#writing = undefined;
  }

  /** Whether another process has written lately. */
  #isShared(): boolean {
    try {
      const version = this.#store.othersVersion();
      if (version !== this.#othersVersion && this.#othersVersion >= 0) this.#othersWroteMs = performance.now();
      this.#othersVersion = version;
    } catch {
      return false; // the write that comes next meets it, too, and has somebody to tell
    }
    return performance.now() - this.#othersWroteMs < sharedForMs;
  }

  #write(batch: readonly Waiting[]): Position[][] {
    clearTimeout(this.#commitTimer);
    this.#commitTimer = undefined;
    const timestampMs = this.#now();
    const staged: (() => void)[] = [];
    const positions = this.#store.transaction(() => {
      for (const member of this.#members) staged.push(member.stageCommits());
      return batch.map(({ records }) => records.map((record) => this.#store.insert(record, timestampMs)));
    });
    for (const confirm of staged) confirm();
    if (batch.length > 0) this.#changes.announce();
    return positions;
  }

  #commitSoon(): void {
    if (this.#writing !== undefined || this.#stopping.signal.aborted) return;
    this.#commitTimer ??= setTimeout(() => {
      try {
        this.#write([]);
      } catch (error) {
        this.#logger.warn({ err: error }, "settled records could not be committed; the next commit includes them");
        this.#commitSoon();
      }
    }, commitEveryMs).unref();
  }

  #step<T>(work: () => T): T {
    if (this.#stopping.signal.aborted) throw new PipelineError("STOPPED", "the log is closed");
    return work();
  }
}

/**
 * Opens the embedded log: one SQLite file in WAL mode that is flushed to the disk on every commit. What `append` acknowledged survives
 * the death of the process, and of the machine as far as its disk keeps its word. Readers of this process wake at once, those of
 * another within about 20 ms. A group has one live member at a time.
 * @throws PipelineError LOG_UNAVAILABLE or FILE_DAMAGED naming the file
 */
export async function openEmbeddedLog(options: EmbeddedLogOptions): Promise<EmbeddedLog> {
  try {
    await mkdir(dirname(options.path), { recursive: true });
  } catch (error) {
    throw new PipelineError("LOG_UNAVAILABLE", `folder of log file ${options.path} cannot be made`, { path: options.path }, error);
  }
  return new EmbeddedLog(options);
}

/** An embedded log in a folder of its own that goes when the log is disposed: for demonstrations and tests. */
export async function openTemporaryLog(options: Omit<EmbeddedLogOptions, "path">): Promise<EmbeddedLog> {
  const folder = await mkdtemp(join(tmpdir(), "smile-log-"));
  return new TemporaryLog({ ...options, path: join(folder, "log.db") }, folder);
}

class TemporaryLog extends EmbeddedLog {
  readonly #folder: string;

  constructor(options: EmbeddedLogOptions, folder: string) {
    super(options);
    this.#folder = folder;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
