/** Which of two queues a message comes from: what was made since the connection stands, or what had to wait for it. */
export type Lane = "live" | "backlog";

/** Live messages that may go first while the backlog may send too: then the backlog has its turn. */
const livePerBacklog = 3;
/** How much of an unused rate may be made up for, in seconds of it. */
const burstSeconds = 0.1;

/**
 * Shares the way to the broker between live messages and a backlog. Live ones go first; the backlog goes on at a limited rate, so that
 * a hall of gateways that comes back from an outage does not flood the service; while both wait and the rate allows it, the backlog
 * has every fourth turn, so that neither starves. Knows neither clock nor message: time comes in as an argument.
 */
export class SendSchedule {
  readonly #perMs: number;
  readonly #largestBurst: number;
  #allowance: number;
  #sinceMs: number;
  #liveInARow = 0;

  /**
   * @param backlogPerSecond messages of the backlog, above 0
   * @param atMs monotonic, as in every call
   */
  constructor(backlogPerSecond: number, atMs: number) {
    if (!(backlogPerSecond > 0)) throw new RangeError(`backlogPerSecond is ${backlogPerSecond}; it must be above 0`);
    this.#perMs = backlogPerSecond / 1000;
    this.#largestBurst = Math.max(1, backlogPerSecond * burstSeconds);
    this.#allowance = this.#largestBurst;
    this.#sinceMs = atMs;
  }

  /** Takes a turn for one message of a queue that has one waiting. @returns null when nothing may be sent now */
  take(waiting: Readonly<Record<Lane, boolean>>, atMs: number): Lane | null {
    this.#refill(atMs);
    const backlog = waiting.backlog && this.#allowance >= 1;
    if (waiting.live && !(backlog && this.#liveInARow >= livePerBacklog)) {
      this.#liveInARow++;
      return "live";
    }
    if (!backlog) return null;
    this.#liveInARow = 0;
    this.#allowance--;
    return "backlog";
  }

  /** How long until the rate allows the backlog its next message, in ms; 0 when it does. */
  waitMs(atMs: number): number {
    this.#refill(atMs);
    return Math.max(0, Math.ceil((1 - this.#allowance) / this.#perMs));
  }

  #refill(atMs: number): void {
    this.#allowance = Math.min(this.#largestBurst, this.#allowance + (atMs - this.#sinceMs) * this.#perMs);
    this.#sinceMs = atMs;
  }
}
