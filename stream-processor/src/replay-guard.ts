import type { Log } from "@smile/runtime/log";
import { WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";
import { SeenFrames, type SenderId } from "./seen-frames.ts";
import { restoreSeen } from "./seen-log.ts";

/** Of all partitions together. */
const BOUNDS = { ranges: 64, epochs: 8, bytes: 4 * 1024 * 1024 };

/**
 * Which frames are in the log: one that is sent again, by its gateway or by whoever recorded it, is not appended again. Early and cheap,
 * not exact: what another ingress took since this one started it does not know. Merging tells those apart.
 */
export class ReplayGuard {
  readonly #durable = new SeenFrames(BOUNDS);
  readonly #underWay = new Map<string, Promise<unknown>>();

  /** Takes up what the log holds of a kind of work. @throws {PipelineError} LOG_UNAVAILABLE, FILE_DAMAGED */
  async restore(log: Log, work: WorkKind, signal: AbortSignal): Promise<void> {
    for (const { partition, earliest, latest } of await log.ends(WORK_TOPICS[work].frames)) {
      // A partition that never had a frame has no snapshot.
      if (latest > 0 || earliest > 0) await restoreSeen(log, work, { partition, offset: latest }, this.#durable, signal);
    }
  }

  isDurable(frame: SenderId): boolean {
    return this.#durable.has(frame);
  }

  /**
   * Appends a frame, unless it is under way already: then this one shares the other's fate.
   * @returns whether this one was appended
   */
  async once(frame: SenderId, append: () => Promise<unknown>): Promise<boolean> {
    const id = `${frame.plant} ${frame.gateway} ${frame.epoch} ${frame.sequence}`;
    const other = this.#underWay.get(id);
    if (other !== undefined) {
      await other;
      return false;
    }
    const appending = append();
    this.#underWay.set(id, appending);
    try {
      await appending;
      this.#durable.add(frame);
    } finally {
      this.#underWay.delete(id);
    }
    return true;
  }
}
