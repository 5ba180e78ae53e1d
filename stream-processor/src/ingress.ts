import { isPipelineError } from "@smile/errors/pipeline-error";
import type { Log } from "@smile/runtime/log";
import type { PlantRegistry } from "@smile/runtime/plant-registry";
import { gapCodec } from "@smile/schemas/envelopes";
import { WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";
import { type AdmissionRules, admitFrame, admitGap } from "./admission.ts";
import type { Arrival } from "./admission-checks.ts";
import { GapGuard } from "./gap-guard.ts";
import type { JobGate } from "./job-gate.ts";
import type { PlantQuota } from "./quota.ts";
import type { Refusals } from "./refusals.ts";
import type { ReplayGuard } from "./replay-guard.ts";

/** Frames taken and their bytes, and frames that were in the log already. */
export type FrameCounters = { accepted: number; bytes: number; replayed: number };

/** What ingress has done since it started. `jobs` counts frames of jobs, refusals are of both kinds of work, all else is of streams. */
export type IngressCounters = FrameCounters & {
  /** Gaps taken; those that were taken before count as replayed. */
  gaps: number;
  /** Refusals by error code, and how many of them left no dead letter. */
  readonly refused: Readonly<Record<string, number>>;
  readonly deadLettersSuppressed: number;
  /** By plant: seconds that its messages waited for its quota, and messages that were given back. */
  readonly quotaWaitSeconds: Readonly<Record<string, number>>;
  readonly quotaExceeded: Readonly<Record<string, number>>;
  readonly jobs: FrameCounters & {
    /** By plant: seconds that its frames of jobs waited for their turn and quota. */
    readonly waitSeconds: Readonly<Record<string, number>>;
    /** By plant: frames of jobs that were given back because they waited too long. */
    readonly givenBack: Readonly<Record<string, number>>;
  };
};

/** What one kind of work has for itself at ingress. */
export type IngressLane = {
  /** The kind's deployments. */
  readonly catalogue: AdmissionRules["catalogue"];
  readonly guard: ReplayGuard;
  /** What plants may send of this kind: jobs leave a plant's streams their share. */
  readonly quota: PlantQuota;
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
  readonly #registry: PlantRegistry;
  readonly #lanes: Readonly<Record<WorkKind, IngressLane>>;
  readonly #gate: JobGate;
  readonly #gaps = new GapGuard();
  readonly #refusals: Refusals;
  readonly #jobWaitSeconds: Record<string, number> = Object.create(null);

  constructor(
    log: Log,
    registry: PlantRegistry,
    parts: { readonly lanes: Readonly<Record<WorkKind, IngressLane>>; readonly gate: JobGate; readonly refusals: Refusals },
  ) {
    const { lanes, gate, refusals } = parts;
    this.#log = log;
    this.#registry = registry;
    this.#lanes = lanes;
    this.#gate = gate;
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
      quotaWaitSeconds: lanes.streams.quota.waitedSeconds,
      quotaExceeded: lanes.streams.quota.exceeded,
      jobs: {
        accepted: 0,
        bytes: 0,
        replayed: 0,
        waitSeconds: this.#jobWaitSeconds,
        get givenBack() {
          return sums(gate.exceeded, lanes.jobs.quota.exceeded);
        },
      },
    };
  }

  /** @throws {PipelineError} QUOTA_EXCEEDED, BACKLOG_FULL, LOG_UNAVAILABLE */
  async receive(arrival: Arrival): Promise<void> {
    const work = workOfTopic(arrival.topic);
    const payer = this.#payerOf(arrival);
    const sinceMs = performance.now();
    // Before anything is looked at: looking is what the quota limits.
    await this.#lanes[work].quota.turn(payer, arrival.payload.length);
    if (work === "streams") {
      await this.#take(arrival, work);
      return;
    }
    await this.#gate.through(payer, () => {
      this.#jobWaitSeconds[payer] = (this.#jobWaitSeconds[payer] ?? 0) + (performance.now() - sinceMs) / 1000;
      return this.#take(arrival, work);
    });
  }

  /** @returns whether it put something into the log that was not there */
  #take(arrival: Arrival, work: WorkKind): Promise<boolean> {
    return gapCodec.claims(arrival.payload) ? this.#takeGap(arrival, work) : this.#takeFrame(arrival, work);
  }

  async #takeFrame(arrival: Arrival, work: WorkKind): Promise<boolean> {
    const { guard } = this.#lanes[work];
    const admitted = await this.#unlessRefused(arrival, () => admitFrame(arrival, this.#rulesOf(work), Date.now()));
    if (admitted === undefined) return false;
    const { frame, isRepeated } = admitted;
    const { payload } = arrival;
    const counters = work === "jobs" ? this.counters.jobs : this.counters;
    const append = () => this.#log.append([{ topic: WORK_TOPICS[work].frames, key: frame.plant, value: payload }]);
    if (isRepeated || !(await guard.once(frame, append))) {
      counters.replayed += 1;
      return false;
    }
    counters.accepted += 1;
    counters.bytes += payload.length;
    return true;
  }

  async #takeGap(arrival: Arrival, work: WorkKind): Promise<boolean> {
    const gap = await this.#unlessRefused(arrival, () => admitGap(arrival, this.#rulesOf(work), Date.now()));
    if (gap === undefined) return false;
    // There is nothing to merge or to score in a gap: it goes to the plant among its scores.
    const append = () => this.#log.append([{ topic: WORK_TOPICS[work].scores, key: gap.plant, value: arrival.payload }]);
    const isNew = await this.#gaps.once(gap, append);
    if (isNew) this.counters.gaps += 1;
    else this.counters.replayed += 1;
    return isNew;
  }

  #rulesOf(work: WorkKind): AdmissionRules {
    const { catalogue, guard } = this.#lanes[work];
    return { registry: this.#registry, catalogue, isDurable: (frame) => guard.isDurable(frame) };
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
    const registry = this.#registry;
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
    return this.#registry.find(plant) === undefined ? STRANGERS : plant;
  }
}

/** Whose lane a message waits in. What has no business on the topic is refused when it is looked at. */
function workOfTopic(topic: string): WorkKind {
  return topic.split("/")[4] === "jobs" ? "jobs" : "streams";
}

function sums(...counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const all: Record<string, number> = Object.create(null);
  for (const [name, count] of counts.flatMap((each) => Object.entries(each))) all[name] = (all[name] ?? 0) + count;
  return all;
}

/** The plant that a topic names, if it names any. */
function plantOf(topic: string): string {
  return topic.split("/")[2] ?? "";
}
