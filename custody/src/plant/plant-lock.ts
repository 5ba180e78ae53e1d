import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { lockForProcess } from "@smile/runtime/process-lock";

/**
 * Lets one command at a time change a plant.
 * @throws {PipelineError} CONFIG_INVALID while another process holds it; STORE_UNAVAILABLE
 */
export function lockPlant(folder: string): Disposable {
  const path = join(folder, "plant.lock");
  const busy = () => new PipelineError("CONFIG_INVALID", "another command is changing the plant; wait until it has ended", { path });
  return lockForProcess(path, busy);
}
