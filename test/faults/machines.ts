import type { FeatureSet, Row } from "@smile/features/spec";
import { WindowStream } from "@smile/features/window-stream";
import { integerScores, type QuantisedHead } from "@smile/model-service/training/quantise-head";
import { type Fleet, fleet } from "@smile/simulators/fleet";
import { toNdjson } from "@smile/simulators/ndjson";
import type { ExpectedEntry } from "./journals.ts";

/** Event time between two rows of a machine, as the trained model expects it. */
const STEP_MS = 3_600_000;

export type GatewayMachines = { readonly gateway: string; readonly firstLane: number; readonly machines: readonly string[] };

/** The machines of all gateways: every row that was ever read can be read again, as a source that goes back gives it. */
export class Machines {
  readonly gateways: readonly GatewayMachines[];
  readonly #fleet: Fleet;
  readonly #rows: (readonly Row[])[] = [];
  readonly #gatewayOf = new Map<string, string>();
  /** What a gateway's clock is ahead of the others', in event time. */
  readonly #aheadMs = new Map<string, number>();

  constructor(seed: number, gateways: number, machinesPerGateway: number) {
    this.#fleet = fleet({ seed, machines: gateways * machinesPerGateway, stepMs: STEP_MS });
    this.gateways = Array.from({ length: gateways }, (_, g) => {
      const firstLane = g * machinesPerGateway;
      return { gateway: `hall-${g + 1}`, firstLane, machines: this.#fleet.machines.slice(firstLane, firstLane + machinesPerGateway) };
    });
    for (const { gateway, machines } of this.gateways) for (const machine of machines) this.#gatewayOf.set(machine, gateway);
  }

  /** From the next new step on, the gateway's rows carry times that are so much ahead. */
  skew(gateway: string, aheadMs: number): void {
    this.#aheadMs.set(gateway, aheadMs);
  }

  /** The gateway's rows of a step, as lines. */
  lines(gateway: string, step: number): string {
    return this.#step(step)
      .filter(({ machine }) => this.#gatewayOf.get(machine) === gateway)
      .map((row) => `${toNdjson(row)}\n`)
      .join("");
  }

  /** The score that each window of the rows so far must have at the plant: the integer head on its plaintext, without any service. */
  expectedScores(featureSet: FeatureSet, head: QuantisedHead): ExpectedEntry[] {
    const stream = new WindowStream(featureSet);
    const windows = [...this.#rows.flat().flatMap((row) => stream.push(row)), ...stream.flush()];
    return windows.map(({ machine, endMs, features }) => {
      const gateway = this.#gatewayOf.get(machine)!;
      return { gateway, machine, endMs, score: integerScores(head, features)[0]! };
    });
  }

  #step(step: number): readonly Row[] {
    while (this.#rows.length <= step) {
      const rows = this.#fleet.step();
      this.#rows.push(rows.map((row) => ({ ...row, timeMs: row.timeMs + (this.#aheadMs.get(this.#gatewayOf.get(row.machine)!) ?? 0) })));
    }
    return this.#rows[step]!;
  }
}
