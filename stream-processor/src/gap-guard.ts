import type { Gap } from "@smile/schemas/envelopes";

/** A gap is a rare thing: a gateway makes one for many frames that it had to drop. */
const MOST = 10_000;

/**
 * Which gaps were taken lately: one that is sent again, by its gateway or by whoever recorded it, is not appended again, and cannot fill
 * the log. Early and cheap, not exact: it is forgotten after ten thousand others, and with a restart; the plant tells it apart then.
 */
export class GapGuard {
  /** In the order in which they came. */
  readonly #taken = new Map<string, Promise<unknown>>();

  /**
   * Appends a gap, unless it was, or is about to be: then this one shares the other's fate.
   * @returns whether this one was appended
   */
  async once({ plant, gateway, epoch, fromSequence, toSequence }: Gap, append: () => Promise<unknown>): Promise<boolean> {
    const id = `${plant} ${gateway} ${epoch} ${fromSequence} ${toSequence}`;
    const other = this.#taken.get(id);
    if (other !== undefined) {
      await other;
      return false;
    }
    const appending = append();
    this.#taken.set(id, appending);
    if (this.#taken.size > MOST) this.#taken.delete(this.#taken.keys().next().value!);
    try {
      await appending;
    } catch (error) {
      this.#taken.delete(id);
      throw error;
    }
    return true;
  }
}
