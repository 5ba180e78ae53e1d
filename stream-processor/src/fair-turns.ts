/**
 * Who is next among many who wait: owners in turns, and of each owner its oldest. Between two turns of an owner everybody else who waits
 * all that time has exactly one. Pure: no clock.
 */
export class FairTurns<T extends object> {
  /** Whose turn comes first stands first; nobody is here without anything that waits. */
  readonly #waiting = new Map<string, Set<T>>();
  #size = 0;

  /** What waits, of all owners together. */
  get size(): number {
    return this.#size;
  }

  /** An owner who waits with nothing else yet comes behind all others. */
  add(owner: string, item: T): void {
    const own = this.#waiting.get(owner) ?? new Set();
    this.#waiting.set(owner, own.add(item));
    this.#size += 1;
  }

  /** Takes what is next, if anything waits; its owner goes to the end. */
  next(): T | undefined {
    for (const [owner, own] of this.#waiting) {
      const [item] = own;
      this.#waiting.delete(owner);
      own.delete(item!);
      if (own.size > 0) this.#waiting.set(owner, own);
      this.#size -= 1;
      return item;
    }
    return undefined;
  }

  /** What waits and was chosen waits no more; an owner's turn stays where it is. @returns what that was */
  remove(isChosen: (item: T) => boolean): T[] {
    const removed: T[] = [];
    for (const [owner, own] of this.#waiting) {
      for (const item of own) {
        if (!isChosen(item)) continue;
        own.delete(item);
        removed.push(item);
      }
      if (own.size === 0) this.#waiting.delete(owner);
    }
    this.#size -= removed.length;
    return removed;
  }
}
