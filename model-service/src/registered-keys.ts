import { hash } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { SanitisingKey } from "@smile/he/scoring-pool";
import type { PublicKey } from "@smile/schemas/documents";
import type { CiphertextKind } from "@smile/schemas/envelopes";

/** The plants' public keys: what replies are sanitised with. Pinned: a key is known by the hash of its bytes, plant and parameters. */
export class RegisteredKeys {
  readonly #keys = new Map<string, SanitisingKey>();

  /** @throws {PipelineError} KEY_MISMATCH when a document's keyId is not the hash of its key */
  constructor(documents: readonly PublicKey[]) {
    for (const { plant, paramsId, keyId, publicKey } of documents) {
      const bytes = Buffer.from(publicKey, "base64");
      if (hash("sha256", bytes) !== keyId) throw new PipelineError("KEY_MISMATCH", `the key ${keyId} has another hash`, { plant });
      // Shared memory: every job names the key, none copies its 32 KB.
      const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
      shared.set(bytes);
      this.#keys.set(`${plant} ${paramsId} ${keyId}`, { keyId, publicKey: shared });
    }
  }

  /** @throws {PipelineError} KEY_UNKNOWN */
  find({ plant, paramsId, keyId }: CiphertextKind): SanitisingKey {
    const key = this.#keys.get(`${plant} ${paramsId} ${keyId}`);
    if (key === undefined) throw new PipelineError("KEY_UNKNOWN", `no public key ${keyId} is registered for the plant`, { plant });
    return key;
  }
}
