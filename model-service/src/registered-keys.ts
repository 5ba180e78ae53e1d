import { PipelineError } from "@smile/errors/pipeline-error";
import type { SanitisingKey } from "@smile/he/worker-protocol";
import type { PlantRegistry } from "@smile/runtime/plant-registry";
import type { CiphertextKind } from "@smile/schemas/envelopes";

/** Copies of keys that are kept ready: 32 or 64 KB each. */
const READY = 256;

/** The plants' public keys, which replies are sanitised with, out of their registers: known by plant, parameters and hash. */
export class RegisteredKeys {
  readonly #plants: PlantRegistry;
  /** By the hash of a key's bytes, the one unused for longest first. */
  readonly #ready = new Map<string, SanitisingKey>();

  constructor(plants: PlantRegistry) {
    this.#plants = plants;
  }

  /**
   * The key of a batch, also a retired one: what was taken under it is still scored. A plant rotates its keys while batches are on
   * their way, so a key that is not known may stand in a register that was not read yet.
   * @throws {PipelineError} KEY_UNKNOWN, also for a key that was revoked or destroyed
   */
  find({ plant, paramsId, keyId }: CiphertextKind): SanitisingKey {
    const key = this.#plants.find(plant)?.keyEver(paramsId, keyId) ?? this.#plants.refresh(plant)?.keyEver(paramsId, keyId);
    if (key === undefined) throw new PipelineError("KEY_UNKNOWN", `no public key ${keyId} is registered for the plant`, { plant });
    const known = this.#ready.get(keyId);
    const ready = known === undefined ? { keyId, publicKey: new Uint8Array(Buffer.from(key.publicKey, "base64")) } : shared(known);
    this.#ready.delete(keyId);
    this.#ready.set(keyId, ready);
    if (this.#ready.size > READY) this.#ready.delete(this.#ready.keys().next().value!);
    return ready;
  }
}

/**
 * In shared memory: every job names the key, none copies its bytes. Only for keys that are asked for again while they are kept: V8 does not
 * count shared memory against its heap, and that of ten thousand plants' keys, one after the other, would wait long for a collection.
 */
function shared(key: SanitisingKey): SanitisingKey {
  if (key.publicKey.buffer instanceof SharedArrayBuffer) return key;
  const publicKey = new Uint8Array(new SharedArrayBuffer(key.publicKey.length));
  publicKey.set(key.publicKey);
  return { ...key, publicKey };
}
