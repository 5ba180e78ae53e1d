import { isPipelineError } from "@smile/errors/pipeline-error";
import type { Log } from "@smile/runtime/log";
import { gapCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { type AdmissionRules, admitFrame, admitGap } from "./admission.ts";
import type { Arrival } from "./admission-checks.ts";
import { GapGuard } from "./gap-guard.ts";
import type { PlantQuota } from "./quota.ts";
import type { Refusals } from "./refusals.ts";
import type { ReplayGuard } from "./replay-guard.ts";

/** What ingress has done since it started. */
export type IngressCounters = {
  /** Frames taken and their bytes, gaps taken, frames and gaps that were in the log already. */
  accepted: number;
  bytes: number;
  gaps: number;
  replayed: number;
  /** Refusals by error code, and how many of them left no dead letter. */
  readonly refused: Readonly<Record<string, number>>;
  readonly deadLettersSuppressed: number;
  /** By plant: seconds that its messages waited for its quota, and messages that were given back. */
  readonly quotaWaitSeconds: Readonly<Record<string, number>>;
  readonly quotaExceeded: Readonly<Record<string, number>>;
};

/** Where messages are counted that no registered plant answers for. No plant has this name. */
export const STRANGERS = "";

/** Refusals that a newer register may take back. */
const BY_REGISTER: ReadonlySet<string> = new Set(["PLANT_UNKNOWN", "SENDER_UNKNOWN", "SIGNATURE_INVALID", "LANES_INVALID", "KEY_UNKNOWN"]);

/**
 * Takes frames, and the gaps between them, off MQTT into the log. `receive` resolves, and only then is the message acknowledged,
 * when it is durable in the log, or when its refusal is dealt with: sending refused bytes again would change nothing. It rejects when the
 * log cannot take it, or the plant sends too much; then nothing is acknowledged and the gateway sends again.
 */
export class Ingress {
  readonly counters: IngressCounters;
  readonly #log: Log;
  readonly #rules: AdmissionRules;
  readonly #guard: ReplayGuard;
  readonly #gaps = new GapGuard();
  readonly #quota: PlantQuota;
  readonly #refusals: Refusals;

  constructor(
    log: Log,
    rules: Omit<AdmissionRules, "isDurable">,
    { guard, quota, refusals }: { readonly guard: ReplayGuard; readonly quota: PlantQuota; readonly refusals: Refusals },
  ) {
    this.#log = log;
    this.#rules = { ...rules, isDurable: (frame) => guard.isDurable(frame) };
    this.#guard = guard;
    this.#quota = quota;
    this.#refusals = refusals;
    this.counters = {
      accepted: 0,
      bytes: 0,
      gaps: 0,
      replayed: 0,
      refused: refusals.counts,
      get deadLettersSuppressed() {
        return refusals.suppressed;
      },
      quotaWaitSeconds: quota.waitedSeconds,
      quotaExceeded: quota.exceeded,
    };
  }

  /** @throws {PipelineError} QUOTA_EXCEEDED, LOG_UNAVAILABLE */
  async receive(arrival: Arrival): Promise<void> {
    // Before anything is looked at: looking is what the quota limits.
    await this.#quota.turn(this.#payerOf(arrival), arrival.payload.length);
    if (gapCodec.claims(arrival.payload))
      await this.#takeGap(arrival); // both come on a gateway's one topic
    else await this.#takeFrame(arrival);
  }

  async #takeFrame(arrival: Arrival): Promise<void> {
    const admitted = await this.#unlessRefused(arrival, () => admitFrame(arrival, this.#rules, Date.now()));
    if (admitted === undefined) return;
    const { frame, isRepeated } = admitted;
    const { payload } = arrival;
    const append = () => this.#log.append([{ topic: LOG_TOPICS.frames, key: frame.plant, value: payload }]);
    if (isRepeated || !(await this.#guard.once(frame, append))) {
      this.counters.replayed += 1;
      return;
    }
    this.counters.accepted += 1;
    this.counters.bytes += payload.length;
  }

  async #takeGap(arrival: Arrival): Promise<void> {
    const gap = await this.#unlessRefused(arrival, () => admitGap(arrival, this.#rules, Date.now()));
    if (gap === undefined) return;
    // There is nothing to merge or to score in a gap: it goes to the plant among its scores.
    const append = () => this.#log.append([{ topic: LOG_TOPICS.scores, key: gap.plant, value: arrival.payload }]);
    if (await this.#gaps.once(gap, append)) this.counters.gaps += 1;
    else this.counters.replayed += 1;
  }

  async #unlessRefused<T>(arrival: Arrival, admit: () => T): Promise<T | undefined> {
    try {
      return this.#withNewestRegister(arrival, admit);
    } catch (error) {
      if (!isPipelineError(error)) throw error;
      await this.#refusals.refuse(arrival, error);
      return undefined;
    }
  }

  /** A frame may be here before the register is read that makes it good. */
  #withNewestRegister<T>({ topic }: Arrival, admit: () => T): T {
    const { registry } = this.#rules;
    const plant = plantOf(topic);
    const before = registry.find(plant);
    try {
      return admit();
    } catch (error) {
      if (!isPipelineError(error) || !BY_REGISTER.has(error.code)) throw error;
      const newest = registry.refresh(plant);
      if (newest === undefined || newest === before) throw error;
      return admit();
    }
  }

  #payerOf({ topic, peer }: Arrival): string {
    const plant = peer?.plant ?? plantOf(topic);
    return this.#rules.registry.find(plant) === undefined ? STRANGERS : plant;
  }
}

/** The plant that a topic names, if it names any. */
function plantOf(topic: string): string {
  return topic.split("/")[2] ?? "";
}
