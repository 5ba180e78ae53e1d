import { existsSync, renameSync } from "node:fs";
import { isPipelineError, type PipelineError } from "@smile/errors/pipeline-error";
import { EdgeStore, type StoreOptions, type StoreOwner } from "./store.ts";

/** A store that could not be read any more, where it is kept now, and what it said. */
export type DamagedStore = { readonly keptAs: string; readonly error: PipelineError };

/**
 * Opens an agent's store. One that is damaged is put aside, never deleted, and the agent goes on with a new one: it has another epoch,
 * so no message id is used for other content, and what was in the old one and not sent is lost to the plant.
 * @throws {PipelineError} as EdgeStore, but for damage; FILE_DAMAGED still for a file that a newer version wrote
 */
export function openEdgeStore(
  path: string,
  owner: StoreOwner,
  options: StoreOptions & { readonly onDamaged: (damaged: DamagedStore) => void },
): EdgeStore {
  try {
    return new EdgeStore(path, owner, options);
  } catch (error) {
    if (!isPipelineError(error) || error.code !== "FILE_DAMAGED" || error.facts.known !== undefined) throw error;
    const keptAs = freeName(`${path}.damaged-${new Date().toISOString().replaceAll(/[-:]|\..*/g, "")}`);
    // Under one name, so that whoever looks at it has its journal too.
    for (const suffix of ["-wal", "-shm", ""]) if (existsSync(path + suffix)) renameSync(path + suffix, keptAs + suffix);
    options.onDamaged({ keptAs, error });
    return new EdgeStore(path, owner, options);
  }
}

function freeName(name: string): string {
  let free = name;
  for (let i = 2; existsSync(free); i++) free = `${name}-${i}`;
  return free;
}
