import { PipelineError } from "@smile/errors/pipeline-error";
import type { Lease } from "@smile/schemas/documents";

/**
 * Which machine stands behind a lane: known to the plant only. Global lane = block * L + lane; a lane belongs to one gateway, so that
 * frames of different gateways can share a ciphertext.
 */
export class LaneMap {
  readonly #lanesPerBlock: number;
  readonly #byLane = new Map<number, { readonly gateway: string; readonly machine: string }>();

  /**
   * @param lanesPerBlock L, lanes per ciphertext
   * @throws {PipelineError} CONFIG_INVALID when two leases share a lane or a machine has two lanes
   */
  constructor(leases: readonly Lease[], lanesPerBlock: number) {
    this.#lanesPerBlock = lanesPerBlock;
    const gatewayOf = new Map<string, string>();
    for (const { gateway, firstLane, machines } of leases) {
      machines.forEach((machine, i) => {
        const lane = firstLane + i;
        const other = this.#byLane.get(lane);
        if (other !== undefined) {
          const what = `leases: global lane ${lane} is leased to gateway ${other.gateway} and to gateway ${gateway}`;
          throw new PipelineError("CONFIG_INVALID", what, { lane, gateway });
        }
        if (gatewayOf.has(machine)) {
          const what = `leases: machine ${machine} has a lane of gateway ${gatewayOf.get(machine)} and one of gateway ${gateway}`;
          throw new PipelineError("CONFIG_INVALID", what, { machine, gateway });
        }
        this.#byLane.set(lane, { gateway, machine });
        gatewayOf.set(machine, gateway);
      });
    }
  }

  get machines(): readonly string[] {
    return [...this.#byLane.values()].map(({ machine }) => machine);
  }

  /** @returns the machine, or undefined when the lane is not leased to that gateway */
  find(gateway: string, block: number, lane: number): string | undefined {
    if (lane < 0 || lane >= this.#lanesPerBlock || block < 0) return undefined;
    const found = this.#byLane.get(block * this.#lanesPerBlock + lane);
    return found?.gateway === gateway ? found.machine : undefined;
  }
}
