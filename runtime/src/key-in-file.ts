import { hash } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { PlantRegister } from "@smile/schemas/plant-register";
import type { RegisteredKey } from "@smile/schemas/registered-plant";

/**
 * A register whose keys' bytes stay in the file that it was written to, where they are read when they are asked for: 44 KB each, of which a
 * service with thousands of plants needs few at a time. What is read is checked by the key's id, its SHA-256.
 * @param path of the register as JSON
 */
export function withKeysInFile(register: PlantRegister, path: string): PlantRegister {
  const content = readFileSync(path);
  let from = 0;
  const keys = register.keys.map(({ publicKey, ...rest }) => {
    const found = content.indexOf(`"${publicKey}"`, from, "latin1");
    // Keys stand in the file in their order; one that does not is read into memory for good.
    if (found < 0) return { ...rest, publicKey };
    from = found + publicKey.length;
    return new KeyInFile(rest, { path, offset: found + 1, length: publicKey.length });
  });
  return { ...register, keys };
}

type Place = { readonly path: string; readonly offset: number; readonly length: number };

class KeyInFile implements RegisteredKey {
  readonly keyEpoch: number;
  readonly gateway: string | null;
  readonly paramsId: string;
  readonly keyId: string;
  readonly state: RegisteredKey["state"];
  readonly untilMs: number | null;
  readonly #place: Place;

  constructor({ keyEpoch, gateway, paramsId, keyId, state, untilMs }: Omit<RegisteredKey, "publicKey">, place: Place) {
    this.keyEpoch = keyEpoch;
    this.gateway = gateway;
    this.paramsId = paramsId;
    this.keyId = keyId;
    this.state = state;
    this.untilMs = untilMs;
    this.#place = place;
  }

  /** Base64. @throws {PipelineError} STORE_UNAVAILABLE when the file is not there, or not as it was */
  get publicKey(): string {
    const { path } = this.#place;
    let text: string;
    try {
      text = read(this.#place);
    } catch (error) {
      throw new PipelineError("STORE_UNAVAILABLE", `${path} cannot be read`, { path }, error);
    }
    if (hash("sha256", Buffer.from(text, "base64")) === this.keyId) return text;
    throw new PipelineError("STORE_UNAVAILABLE", `${path} was changed by somebody else: key ${this.keyId} is not where it was`, { path });
  }
}

function read({ path, offset, length }: Place): string {
  const bytes = Buffer.allocUnsafe(length);
  const file = openSync(path, "r");
  try {
    const count = readSync(file, bytes, 0, length, offset);
    return bytes.toString("latin1", 0, count);
  } finally {
    closeSync(file);
  }
}
