import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import { lookAtFile } from "@smile/runtime/file-look";
import type { RegisteredPlant } from "@smile/schemas/registered-plant";
import type { AgentKeys, KeyFiles } from "../key-files.ts";
import { checkSigner, readRegister } from "../plant-pin.ts";

/**
 * Looks whether what a job is encrypted and signed with is still in force, since a job may take hours: revoked by a newer register, or
 * its time over. Without a register there is nothing to look at.
 */
export class KeyWatch implements Disposable {
  readonly #files: KeyFiles;
  readonly #keys: AgentKeys;
  readonly #ended = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #register: RegisteredPlant | undefined;
  #stamp = "";

  constructor(files: KeyFiles, keys: AgentKeys, everyMs = 1000) {
    this.#files = files;
    this.#keys = keys;
    this.look();
    this.#timer = setInterval(() => this.look(), everyMs).unref();
  }

  /** Aborted once the keys are out of force; its reason is a PipelineError, JOB_CHANGED or KEY_MISMATCH. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  look(): void {
    const { pin, use } = this.#files;
    if (pin === undefined || this.ended.aborted) return;
    try {
      this.#reread(pin);
      if (this.#register === undefined) return;
      if (this.#register.keyAt(use.paramsId, this.#keys.key.keyId, Date.now()) === undefined) {
        const what = `its key ${this.#keys.key.keyId} is out of force in the plant's register`;
        throw new PipelineError("JOB_CHANGED", what, { field: "keyId" });
      }
      checkSigner(this.#register, use.gateway, this.#keys.signingKey, Date.now());
    } catch (error) {
      this.#ended.abort(error);
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** A register that cannot be read, being replaced or refused, leaves the one before in force. */
  #reread(pin: NonNullable<KeyFiles["pin"]>): void {
    const { stamp } = lookAtFile(pin.path);
    if (stamp === this.#stamp) return;
    try {
      this.#register = readRegister(pin, this.#files.use.plant);
      this.#stamp = stamp;
    } catch (error) {
      if (!isPipelineError(error)) throw error;
    }
  }
}
