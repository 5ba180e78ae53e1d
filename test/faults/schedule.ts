import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { between, shuffled } from "./random.ts";

/**
 * What can be done to a running plant: every row of the fault table, and what dies in it, by name. `steps` is how long it lasts where it
 * lasts: least and most steps of the machines, one step being `STEP_PACE_MS`.
 */
export const FAULTS = {
  "kill-stream-processor": { steps: [0, 40] },
  "kill-model-service": { steps: [0, 40] },
  "kill-plant-console": { steps: [0, 40] },
  "kill-edge-agent": { steps: [0, 40] },
  "kill-kafka": { steps: [0, 20] },
  "frozen-stream-processor": { steps: [20, 60] },
  "frozen-model-service": { steps: [20, 60] },
  "stale-member": { steps: [480, 480] },
  "frozen-console": { steps: [40, 120] },
  "console-absent": { steps: [120, 120] },
  "disk-full": { steps: [20, 80] },
  "clock-skew": { steps: [20, 80] },
  "time-series-down": { steps: [40, 120] },
  "duplicated-publish": { steps: [0, 0] },
  "replayed-publish": { steps: [0, 0] },
  "reordered-publish": { steps: [0, 0] },
  "delayed-publish": { steps: [4, 40] },
  "dropped-acknowledgement": { steps: [0, 0] },
  "duplicated-delivery": { steps: [0, 0] },
  "delayed-delivery": { steps: [4, 40] },
  "dropped-delivery-acknowledgement": { steps: [0, 0] },
  "poison-message": { steps: [0, 0] },
  "corrupt-ciphertext": { steps: [0, 0] },
  "foreign-key": { steps: [0, 0] },
  "forged-frame": { steps: [0, 0] },
  "oversize-message": { steps: [0, 0] },
  "renewed-gateway": { steps: [0, 0] },
  "rotated-keys": { steps: [0, 0] },
  "renewed-server": { steps: [0, 0] },
  "damaged-register": { steps: [40, 120] },
} as const satisfies Record<string, { readonly steps: readonly [least: number, most: number] }>;

export type FaultKind = keyof typeof FAULTS;
/** What only a Kafka can be struck with: its own death, and a member of a group frozen for so long that another takes its place. */
export const KAFKA_KINDS: ReadonlySet<FaultKind> = new Set(["kill-kafka", "stale-member"]);
/** What needs certificates. */
export const TLS_KINDS: ReadonlySet<FaultKind> = new Set(["renewed-server"]);
export const FAULT_KINDS = Object.keys(FAULTS) as readonly FaultKind[];

/** How gateways and console reach the brokers: with mutual TLS; in every third schedule without, as a plant on one machine may. */
export type Transport = "tls" | "plain";

export function transportOf(seed: number): Transport {
  return seed % 3 === 0 ? "plain" : "tls";
}

/** What must have happened since the fault before: so many frames acknowledged to gateways, or so many new risks at the console. */
export type Trigger = { readonly on: "acknowledged" | "risks"; readonly count: number };

/** One fault of a schedule. */
export type Fault = {
  readonly kind: FaultKind;
  readonly after: Trigger;
  /** How long it lasts, in steps of the machines. */
  readonly steps: number;
  /** It begins when those before it are over, and the next one when the plant has recovered from it: only then is its recovery its own. */
  readonly alone: boolean;
  /** A draw in [0, 2^30] for what the kind leaves open: which gateway or replica, which of the captured messages, which bytes. */
  readonly draw: number;
};

/**
 * The faults of a schedule: each of the kinds once, in an order, at moments and against targets that follow from the seed alone.
 * Triggers are progress of the pipeline, never time: a slow machine sees the same faults at the same points of its work.
 */
export function scheduleOf(seed: number, kinds: readonly FaultKind[] = FAULT_KINDS): Fault[] {
  const random = xoroshiro128plus(seed);
  return shuffled(random, kinds).map((kind) => {
    const on = between(random, 0, 3) === 0 ? "risks" : "acknowledged";
    // A frame of four machines makes four risks.
    const frames = between(random, 6, 30);
    const [least, most] = FAULTS[kind].steps;
    return {
      kind,
      after: { on, count: on === "risks" ? 4 * frames : frames },
      steps: between(random, least, most),
      alone: between(random, 0, 3) === 0 && kind.startsWith("kill-"),
      draw: between(random, 0, 2 ** 30),
    };
  });
}
