import type { PlantRegister } from "@smile/schemas/plant-register";
import { RegisteredPlant } from "@smile/schemas/registered-plant";

/** The plants that a service works for, by their newest registers. */
export interface PlantRegistry extends Disposable {
  find(plant: string): RegisteredPlant | undefined;
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
