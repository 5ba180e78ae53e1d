import { hash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import { openRegister, type PlantRegister } from "@smile/schemas/plant-register";
import { RegisteredPlant } from "@smile/schemas/registered-plant";
import type { AuditLog } from "./audit-log.ts";
import { type FileLook, lookAtFile } from "./file-look.ts";
import { readJsonFile, writeJsonFile } from "./json-file.ts";
import { withKeysInFile } from "./key-in-file.ts";
import type { Logger } from "./logging.ts";

/** Registers that came into force since the start, and those that were refused, by error code. */
export type RegisterCounters = { taken: number; readonly refused: Record<string, number> };

export type RegisterFileOptions = {
  readonly path: string;
  /** `identityHash` of the plant. */
  readonly identity: string;
  /** Where the register that was taken last is kept. */
  readonly taken: string;
  readonly logger: Logger;
  readonly audit: AuditLog;
  readonly counters: RegisterCounters;
};

/**
 * Sixty thousand gateways. A register is checked in one go while everybody waits, some 60 ms of a core for each of these MiB: what a plant signs
 * must not hold its neighbours up.
 */
const LARGEST_BYTES = 32 * 1024 * 1024;

/**
 * One plant's register in a file that somebody replaces now and then. A register that is taken is kept in a file of our own first: so a
 * restart neither takes an older one again, nor fails because of the one that lies there now.
 */
export class RegisterFile {
  readonly #options: RegisterFileOptions;
  #inForce: RegisteredPlant | undefined;
  /** How the file lay there when it was read last; undefined while it has to be read again. */
  #stamp: string | undefined;
  #digest: string | undefined;

  /**
   * @throws {PipelineError} why the register cannot be taken, when none was taken before: FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID,
   *   SIGNATURE_INVALID, STORE_UNAVAILABLE
   */
  constructor(options: RegisterFileOptions) {
    this.#options = options;
    this.#inForce = this.#kept();
    this.update();
  }

  get plant(): RegisteredPlant {
    return this.#inForce!;
  }

  /**
   * Reads the file if it changed. A register that is refused is logged and counted, and the one before stays in force.
   * @returns whether another register came into force
   */
  update(): boolean {
    const { path, logger } = this.#options;
    const look = lookAtFile(path);
    if (look.stamp === this.#stamp) return false;
    const digest = digestOf(path, look);
    let took = false;
    try {
      if (digest !== this.#digest) took = this.#take(look);
    } catch (error) {
      if (this.#inForce === undefined || !isPipelineError(error)) throw error;
      // What may pass is tried again at the next look.
      if (error.retriable) {
        logger.warn({ register: path, code: error.code, facts: error.facts }, "a register could not be taken yet");
        return false;
      }
      this.#refuse(error);
    }
    this.#digest = digest;
    this.#stamp = look.settled ? look.stamp : undefined;
    return took;
  }

  #take({ size }: FileLook): boolean {
    const { path, identity, taken, audit, counters, logger } = this.#options;
    if (size > LARGEST_BYTES) throw new PipelineError("DOCUMENT_INVALID", `${path} is too large for a register`, { path, size });
    const json = readJsonFile(path, "register");
    if (this.#isWhatWasKept(json)) return false;
    const register = openRegister(json, identity, path);
    if (!this.#isNewer(register)) return false;
    const facts = { plant: register.plant, serial: register.serial, identity };
    audit.append("register-taken", { ...facts, gateways: register.gateways.length, keys: register.keys.length });
    writeJsonFile(taken, register);
    this.#inForce = new RegisteredPlant(withKeysInFile(register, taken));
    counters.taken += 1;
    logger.info({ register: path, ...facts }, "took a register");
    return true;
  }

  /** At the first look after a restart, most registers are: checking a signature again takes longer than comparing. */
  #isWhatWasKept(json: unknown): boolean {
    if (this.#digest !== undefined || this.#inForce === undefined) return false;
    return isDeepStrictEqual(json, readJsonFile(this.#options.taken, "taken register"));
  }

  /** @returns false for the register that is in force. @throws {PipelineError} REGISTER_STALE, DOCUMENT_INVALID */
  #isNewer(register: PlantRegister): boolean {
    const { path } = this.#options;
    const now = this.#inForce?.register;
    if (now === undefined) return true;
    if (register.signature === now.signature) return false;
    if (register.plant !== now.plant) {
      throw new PipelineError("DOCUMENT_INVALID", `${path}: plant is ${register.plant}, and was ${now.plant}`, { path });
    }
    if (register.serial > now.serial) return true;
    const facts = { path, plant: now.plant, serial: register.serial, taken: now.serial };
    throw new PipelineError("REGISTER_STALE", `${path}: serial ${register.serial} is not above ${now.serial}, which was taken`, facts);
  }

  #refuse(error: PipelineError): void {
    const { path, audit, counters, logger } = this.#options;
    const { plant, serial } = this.#inForce!.register;
    counters.refused[error.code] = (counters.refused[error.code] ?? 0) + 1;
    logger.error({ register: path, code: error.code, facts: error.facts, inForce: serial }, "refused a register");
    audit.append("register-refused", { plant, code: error.code, inForce: serial });
  }

  /** What was taken before the last restart; what is not this plant's any more, since another identity is pinned, counts as nothing. */
  #kept(): RegisteredPlant | undefined {
    const { taken, identity, logger } = this.#options;
    if (!existsSync(taken)) return undefined;
    try {
      return new RegisteredPlant(withKeysInFile(openRegister(readJsonFile(taken, "taken register"), identity, taken), taken));
    } catch (error) {
      if (!isPipelineError(error)) throw error;
      logger.warn({ taken, code: error.code }, "the register that was taken last is not of this identity, or damaged: it is forgotten");
      return undefined;
    }
  }
}

/** Tells contents apart, so that one that was refused is told once. */
function digestOf(path: string, { size }: FileLook): string {
  if (size > LARGEST_BYTES) return "large";
  try {
    return hash("sha256", readFileSync(path));
  } catch {
    return "unreadable";
  }
}
