import { isSignedBy } from "@smile/schemas/ed25519";
import type { CiphertextKind, Part } from "@smile/schemas/envelopes";
import type { RegisteredPlant } from "@smile/schemas/registered-plant";
import { partStatement } from "@smile/schemas/signing";

/** Parts that are remembered: a batch has at most as many as lanes, and its heads' scores come one behind the other. */
const REMEMBERED = 1024;

/**
 * Which parts are what their gateway signed. A part comes once with every head's score of its batch, and a verification costs as much as
 * half a decryption: each is made once. What is remembered is the whole statement with its signature, and only under the register that
 * proved it.
 */
export class PartProofs {
  #plant: RegisteredPlant | undefined;
  readonly #proven = new Set<string>();

  /** @returns whether a key of the part's gateway signed it that the plant's register believes */
  prove(kind: CiphertextKind, part: Part, plant: RegisteredPlant): boolean {
    if (plant !== this.#plant) this.#proven.clear();
    this.#plant = plant;
    const statement = partStatement(kind, part);
    const proof = statement.toString("latin1") + Buffer.from(part.signature).toString("latin1");
    if (this.#proven.has(proof)) return true;
    if (!isSignedBy(statement, part.signature, plant.signersEver(part.gateway))) return false;
    if (this.#proven.size >= REMEMBERED) this.#proven.clear();
    this.#proven.add(proof);
    return true;
  }
}
