import { PipelineError } from "@smile/errors/pipeline-error";
import type { Lease } from "@smile/schemas/documents";

/** Where a machine's windows stand: global lane = block * L + lane. */
export type Place = { readonly block: number; readonly lane: number };

/** The places of a gateway's machines, by name. */
export type LaneMap = ReadonlyMap<string, Place>;

/**
 * The places that a lease gives.
 * @param lanes L: lanes per ciphertext
 * @throws {PipelineError} DOCUMENT_INVALID when the lease names a machine twice: two machines would share a history
 */
export function laneMap({ firstLane, machines }: Pick<Lease, "firstLane" | "machines">, lanes: number): LaneMap {
  const places = new Map<string, Place>();
  machines.forEach((machine, i) => {
    if (places.has(machine)) {
      throw new PipelineError("DOCUMENT_INVALID", `lease: machines[${i}] is named a second time`, { field: `machines[${i}]` });
    }
    const global = firstLane + i;
    places.set(machine, { block: Math.floor(global / lanes), lane: global % lanes });
  });
  return places;
}
