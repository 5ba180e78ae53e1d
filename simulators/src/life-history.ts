import type { MachineCharacter } from "./machine-character.ts";
import { advance, type MachineState } from "./wear-process.ts";

/** One life of a machine, in steps of the fleet: rows in [start, failure), none from `failure` until the next life starts. */
export type Life = { readonly start: number; readonly failure: number };

/**
 * The lives of one machine, as far as anyone has asked. It runs the hidden process ahead of the rows, from the same first state
 * and the same random numbers, so what it foretells is what then happens.
 */
export class LifeHistory {
  readonly #character: MachineCharacter;
  readonly #stepsPerDay: number;
  readonly #lives: Life[] = [];
  #state: MachineState;
  #start = 0;

  constructor(first: MachineState, character: MachineCharacter, stepsPerDay: number) {
    this.#state = first;
    this.#character = character;
    this.#stepsPerDay = stepsPerDay;
  }

  /** The first life that ends after a step: the one running then, or the next when the machine is under repair. */
  lifeEndingAfter(step: number): Life {
    for (;;) {
      const known = this.#lives.find((life) => life.failure > step);
      if (known !== undefined) return known;
      this.#runToNextFailure();
    }
  }

  /** Lives that ended at or before a step, in order. */
  endedBy(step: number): Life[] {
    this.lifeEndingAfter(step);
    return this.#lives.filter((life) => life.failure <= step);
  }

  #runToNextFailure(): void {
    const life = this.#state.life;
    while (this.#state.life === life) this.#next();
    this.#lives.push({ start: this.#start, failure: this.#state.step });
    while (this.#state.repairSteps > 0) this.#next();
    this.#start = this.#state.step;
  }

  #next(): void {
    this.#state = advance(this.#state, this.#character, this.#stepsPerDay);
  }
}
