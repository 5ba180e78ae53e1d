/** Plants that are told apart at most. All beyond that share one budget. */
const PLANTS = 10_000;
const HOUR_MS = 3_600_000;

/**
 * How many dead letters are kept per plant: so that nobody fills the disk with messages that are refused. An allowance that fills again
 * evenly: at once at most `perHour`, and in any hour at most twice that.
 */
export class DeadLetterBudget {
  readonly #perHour: number;
  readonly #left = new Map<string, { letters: number; atMs: number }>();
  #suppressed = 0;

  constructor({ perHour = 600 }: { readonly perHour?: number } = {}) {
    this.#perHour = perHour;
  }

  /** Dead letters that were not kept. */
  get suppressed(): number {
    return this.#suppressed;
  }

  /**
   * Takes one letter out of the plant's budget, or counts it as suppressed.
   * @param plant that is registered, or empty text: a stranger may claim any name, so that all strangers share one budget
   * @returns whether to keep the letter
   */
  allows(plant: string, nowMs: number): boolean {
    const budget = this.#budgetOf(plant, nowMs);
    const filled = Math.max(0, nowMs - budget.atMs) * (this.#perHour / HOUR_MS);
    budget.letters = Math.min(this.#perHour, budget.letters + filled);
    budget.atMs = nowMs;
    if (budget.letters >= 1) {
      budget.letters -= 1;
      return true;
    }
    this.#suppressed += 1;
    return false;
  }

  #budgetOf(plant: string, nowMs: number) {
    const name = this.#left.has(plant) || this.#left.size < PLANTS ? plant : "";
    let budget = this.#left.get(name);
    if (budget === undefined) {
      budget = { letters: this.#perHour, atMs: nowMs };
      this.#left.set(name, budget);
    }
    return budget;
  }
}
