/**
 * How far one partition may be committed when its records are settled in any order. Pure: no clock, no log.
 * Memory grows with the records delivered and not yet settled, and with nothing else.
 */
export class Settlement {
  #next: number;
  /** Delivered and not settled, in offset order: a Set keeps the order of insertion, and offsets only grow. */
  readonly #unsettled = new Set<number>();

  /** @param start the first offset that may be delivered: the group's last commit */
  constructor(start: number) {
    this.#next = start;
  }

  /**
   * Takes note of a delivery.
   * @throws {RangeError} when the offset is not above every one delivered before
   */
  deliver(offset: number): void {
    if (offset < this.#next) throw new RangeError(`offset ${offset} was delivered out of order: ${this.#next} or higher must come next`);
    this.#unsettled.add(offset);
    this.#next = offset + 1;
  }

  /** Takes note that what a record led to is durable. Does nothing for an offset that is not waiting: unknown, or settled before. */
  settle(offset: number): void {
    this.#unsettled.delete(offset);
  }

  /** The offset to commit: where the next member begins after a restart. Every delivered record below it is settled. */
  get watermark(): number {
    for (const oldest of this.#unsettled) return oldest;
    return this.#next;
  }

  /** The next offset to ask the log for. */
  get next(): number {
    return this.#next;
  }

  /** Records delivered and not settled. */
  get unsettled(): number {
    return this.#unsettled.size;
  }
}
