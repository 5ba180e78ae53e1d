import { resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { PlantRegister } from "@smile/schemas/plant-register";
import { RegisteredPlant } from "@smile/schemas/registered-plant";
import { type AuditLog, silentAudit } from "./audit-log.ts";
import type { Logger } from "./logging.ts";
import type { PlantsConfig } from "./plants-config.ts";
import { type RegisterCounters, RegisterFile } from "./register-file.ts";

/** The plants that a service works for, by their newest registers. */
export interface PlantRegistry extends Disposable {
  find(plant: string): RegisteredPlant | undefined;
  /** As `find`, after a look whether there is a newer register: for a reader that met a key or gateway that it does not know yet. */
  refresh(plant: string): RegisteredPlant | undefined;
  readonly plants: readonly RegisteredPlant[];
  /** Calls the listener after each change, until the registry is disposed. */
  onChange(listener: () => void): void;
}

/** A registry that changes only by `replace`: for a demo or a test that holds its registers itself. */
export class FixedRegistry implements PlantRegistry {
  readonly #plants = new Map<string, RegisteredPlant>();
  readonly #listeners: (() => void)[] = [];

  constructor(registers: readonly PlantRegister[]) {
    for (const register of registers) this.#plants.set(register.plant, new RegisteredPlant(register));
  }

  find(plant: string): RegisteredPlant | undefined {
    return this.#plants.get(plant);
  }

  refresh(plant: string): RegisteredPlant | undefined {
    return this.find(plant);
  }

  get plants(): readonly RegisteredPlant[] {
    return [...this.#plants.values()];
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  replace(register: PlantRegister): void {
    this.#plants.set(register.plant, new RegisteredPlant(register));
    for (const listener of this.#listeners) listener();
  }

  [Symbol.dispose](): void {
    this.#listeners.length = 0;
  }
}

/** Registers in files, which are read again when they change. */
export type FilePlantRegistry = PlantRegistry & {
  readonly counters: RegisterCounters;
  /** What is done every `pollMs`: looks at each file. */
  poll(): void;
};

export type PlantRegistryOptions = {
  readonly plants: PlantsConfig;
  /** That relative paths start from. */
  readonly folder: string;
  readonly logger: Logger;
  readonly audit?: AuditLog;
  /** Between two looks at a file, where there are no more than `LOOKS_AT_ONCE * pollMs / PAUSE_MS`. Default 1 s. */
  readonly pollMs?: number;
};

/**
 * Two thousand looks per second take a hundredth of a core, and nobody waits longer than a hundred. With ten thousand plants each file is
 * looked at every 5 s.
 */
const LOOKS_AT_ONCE = 100;
const PAUSE_MS = 50;

/**
 * Reads and checks each plant's register, and again whenever a file changes. Only a higher serial is taken; what is refused is logged
 * and counted, and the register before stays in force. Polls, since watching files does not work on every file system that holds them.
 * @throws {PipelineError} when a plant has no register that can be taken, and had none before: FILE_MISSING, FILE_DAMAGED,
 *   DOCUMENT_INVALID, SIGNATURE_INVALID, STORE_UNAVAILABLE; CONFIG_INVALID when two registers are of one plant
 */
export function openPlantRegistry(options: PlantRegistryOptions): FilePlantRegistry {
  const { plants, folder, audit = silentAudit, pollMs = 1000 } = options;
  const logger = options.logger.child({ part: "plant registry" });
  const counters: RegisterCounters = { taken: 0, refused: {} };
  const listeners: (() => void)[] = [];
  const files = new Map<string, RegisterFile>();
  plants.forEach(({ register, identity, taken = `${register}.taken` }, i) => {
    const paths = { path: resolve(folder, register), taken: resolve(folder, taken) };
    const file = new RegisterFile({ ...paths, identity, logger, audit, counters });
    const { plant } = file.plant;
    if (files.has(plant)) throw new PipelineError("CONFIG_INVALID", `plants.${i}: ${plant} has another register before it`, { plant });
    files.set(plant, file);
  });
  const update = (some: Iterable<RegisterFile>) => {
    let changed = false;
    for (const file of some) {
      try {
        changed = file.update() || changed;
      } catch (error) {
        // One plant's register must not end the work for the others.
        logger.error({ plant: file.plant.plant, err: error }, "a register could not be read");
      }
    }
    if (changed) for (const listener of listeners) listener();
  };
  const poll = () => update(files.values());
  const turns = Math.ceil(files.size / LOOKS_AT_ONCE);
  let turn = 0;
  const timer = setInterval(
    () => {
      update([...files.values()].slice(turn * LOOKS_AT_ONCE, (turn + 1) * LOOKS_AT_ONCE));
      turn = (turn + 1) % turns;
    },
    Math.max(PAUSE_MS, pollMs / turns),
  ).unref();
  return {
    counters,
    poll,
    find: (plant) => files.get(plant)?.plant,
    refresh(plant) {
      const file = files.get(plant);
      if (file !== undefined) update([file]);
      return file?.plant;
    },
    get plants() {
      return [...files.values()].map(({ plant }) => plant);
    },
    onChange: (listener) => void listeners.push(listener),
    [Symbol.dispose]() {
      clearInterval(timer);
      listeners.length = 0;
    },
  };
}
