import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { threadId } from "node:worker_threads";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { ChangeSignal } from "./change-signal.ts";
import type { Commit, EmbeddedStore, Lease, Slot } from "./embedded-store.ts";
import type { GroupMember, LogRecord, Position, ReadLimits } from "./log.ts";
import { Settlement } from "./settlement.ts";

export type MemberSetup = {
  readonly group: string;
  readonly topics: readonly string[];
  readonly store: EmbeddedStore;
  readonly changes: ChangeSignal;
  readonly leaseMs: number;
  readonly now: () => number;
  readonly stopping: AbortSignal;
  readonly onSettled: () => void;
  readonly onLeft: () => void;
};

type Held = { readonly slot: Slot; readonly settlement: Settlement; committed: number };

/** Members of this thread: tells a live holder from one that a crash left behind under the same process id, as in a container. */
const living = new Set<string>();

/** The one live member of a group on the embedded log, by virtue of a lease that it renews. Made by `EmbeddedLog.join`. */
export class EmbeddedMember implements GroupMember {
  readonly #setup: MemberSetup;
  readonly #holder = randomUUID();
  readonly #held: readonly Held[];
  readonly #heartbeat: NodeJS.Timeout;
  #turn = 0;
  #state: "member" | "ousted" | "left" = "member";

  /** @throws PipelineError LOG_GROUP_BUSY while another member lives */
  constructor(setup: MemberSetup) {
    this.#setup = setup;
    const { store, group, topics, now, leaseMs } = setup;
    this.#held = store.transaction(() => {
      const lease = store.lease(group);
      if (lease !== undefined && isAlive(lease, now())) {
        const facts = { group, host: lease.host, pid: lease.pid };
        throw new PipelineError("LOG_GROUP_BUSY", `group ${group} has a live member in process ${lease.pid} of ${lease.host}`, facts);
      }
      store.takeLease(group, { holder: this.#holder, host: hostname(), pid: process.pid, thread: threadId, expiresMs: now() + leaseMs });
      const slots = topics.flatMap((topic) => store.slotsOf(topic));
      return slots.map((slot) => {
        const committed = store.openCommit(group, slot);
        return { slot, settlement: new Settlement(committed), committed };
      });
    });
    living.add(this.#holder);
    this.#heartbeat = setInterval(() => this.#renew(), leaseMs / 3).unref();
  }

  async poll(limits: ReadLimits, signal: AbortSignal): Promise<readonly LogRecord[]> {
    const untilMs = performance.now() + limits.waitMs;
    for (;;) {
      if (signal.aborted) return [];
      const { since, found } = this.#step(() => ({ since: this.#setup.changes.now(), found: this.#fetch(limits) }));
      const leftMs = untilMs - performance.now();
      if (found.length > 0 || leftMs <= 0) return found;
      await this.#setup.changes.wait(since, leftMs, signal);
    }
  }

  async settle(records: readonly Position[]): Promise<void> {
    this.#check();
    for (const { topic, partition, offset } of records) {
      const held = this.#held.find(({ slot }) => slot.topic === topic && slot.partition === partition);
      held?.settlement.settle(offset);
    }
    this.#setup.onSettled();
  }

  async lag(): Promise<number> {
    return this.#step(() => {
      const lags = this.#held.map(({ slot, settlement }) => {
        // Records that were settled out of order, above the watermark, are no longer waiting for anybody.
        return this.#setup.store.ends(slot).latest - settlement.next + settlement.unsettled;
      });
      return lags.reduce((sum, each) => sum + each, 0);
    });
  }

  /**
   * Writes what is settled by now into the transaction that the log has open.
   * @returns what to call once that transaction is durable
   */
  stageCommits(): () => void {
    const moved = this.#held.filter(({ settlement, committed }) => settlement.watermark !== committed);
    if (this.#state !== "member" || moved.length === 0) return () => {};
    const commits: Commit[] = moved.map(({ slot, settlement }) => ({ slot: slot.slot, offset: settlement.watermark }));
    if (!this.#setup.store.commit(this.#setup.group, this.#holder, commits)) {
      this.#oust();
      return () => {};
    }
    return () => {
      moved.forEach((held, i) => {
        held.committed = commits[i]!.offset;
      });
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === "left") return;
    try {
      this.#setup.store.transaction(() => {
        this.stageCommits();
        this.#setup.store.dropLease(this.#setup.group, this.#holder);
      });
    } catch {
      // What could not be committed is delivered again, and the lease is seen to be dead: leaving must not fail.
    } finally {
      this.#state = "left";
      clearInterval(this.#heartbeat);
      living.delete(this.#holder);
      this.#setup.onLeft();
    }
  }

  #fetch(limits: ReadLimits): LogRecord[] {
    if (this.#setup.store.lease(this.#setup.group)?.holder !== this.#holder) {
      this.#oust();
      this.#check();
    }
    const found: LogRecord[] = [];
    let { maxRecords, maxBytes } = limits;
    const nextOffsets = this.#setup.store.nextOffsets();
    for (let i = 0; i < this.#held.length && maxRecords > 0 && maxBytes > 0; i++) {
      // Each poll starts with another partition, so that a full one cannot starve the rest.
      const { slot, settlement } = this.#held[(this.#turn + i) % this.#held.length]!;
      if (settlement.next >= nextOffsets.get(slot.slot)!) continue;
      for (const record of this.#setup.store.fetch(slot, settlement.next, { maxRecords, maxBytes })) {
        if (found.length > 0 && record.value.length > maxBytes) break;
        settlement.deliver(record.offset);
        found.push(record);
        maxRecords--;
        maxBytes -= record.value.length;
      }
    }
    this.#turn++;
    return found;
  }

  #renew(): void {
    const { store, group, now, leaseMs } = this.#setup;
    try {
      if (this.#state === "member" && !store.renewLease(group, this.#holder, now() + leaseMs)) this.#oust();
    } catch {
      // A disk that is busy or full: there are two more beats before the lease ends, and then every commit checks the holder.
    }
  }

  #oust(): void {
    this.#state = "ousted";
    living.delete(this.#holder);
    clearInterval(this.#heartbeat);
  }

  #check(): void {
    const { group, stopping } = this.#setup;
    if (this.#state === "ousted") throw new PipelineError("LOG_GROUP_BUSY", `another member took over group ${group}`, { group });
    if (this.#state === "left" || stopping.aborted) throw new PipelineError("STOPPED", `this member has left group ${group}`, { group });
  }

  #step<T>(work: () => T): T {
    this.#check();
    return work();
  }
}

/** Where it can be known, a dead holder is recognised at once; otherwise when its lease ends. */
function isAlive(lease: Lease, nowMs: number): boolean {
  if (lease.expiresMs <= nowMs) return false;
  if (lease.host !== hostname()) return true;
  if (lease.pid === process.pid) return lease.thread !== threadId || living.has(lease.holder);
  try {
    process.kill(lease.pid, 0); // signal 0 asks whether the process exists and does nothing to it
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
