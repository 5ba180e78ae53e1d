import type { LogRecord, PartitionEnds, Position, ReadLimits } from "./log.ts";
import { Settlement } from "./settlement.ts";

/** A partition of a topic, without a position in it. */
export type Slot = { readonly topic: string; readonly partition: number };

/** The name of a slot, as members of a group tell each other. */
export const slotName = ({ topic, partition }: Slot) => `${topic}/${partition}`;

/** The slot of a name. */
export function slotOf(name: string): Slot {
  const at = name.lastIndexOf("/");
  return { topic: name.slice(0, at), partition: Number(name.slice(at + 1)) };
}

/** What to fetch next. Hand it back to `received` with what came: an answer to a request from before a loss is of no use. */
export type Want = Position & { readonly held: object };

type Held = {
  readonly slot: Slot;
  readonly settlement: Settlement;
  committed: number;
  /** Came in one answer with others and waits for the next poll; above everything delivered, in offset order. */
  readonly fetched: LogRecord[];
};

/**
 * What one member of a group holds: how far each of its partitions is delivered, settled and committed, and what was fetched ahead.
 * Pure: no clock, no log.
 */
export class HeldPartitions {
  readonly #held = new Map<string, Held>();
  #turn = 0;

  get names(): string[] {
    return [...this.#held.keys()];
  }

  /**
   * Lets go of all other partitions: what is delivered of them is neither handed out nor committed here any more.
   * @returns how many those were
   */
  retain(slots: readonly Slot[]): number {
    const names = new Set(slots.map(slotName));
    const lost = this.names.filter((name) => !names.has(name));
    for (const name of lost) this.#held.delete(name);
    return lost.length;
  }

  /**
   * Takes a partition over where the group has committed. One that is held already goes on, for its records are being worked on here;
   * unless the commit is beyond, so somebody else had it in the meantime.
   */
  assign(slot: Slot, committed: number): void {
    const held = this.#held.get(slotName(slot));
    if (held !== undefined && committed <= held.settlement.watermark) held.committed = committed;
    else this.begin(slot, committed, committed);
  }

  /** Takes a partition over at `next`, forgetting what was delivered of it. */
  begin(slot: Slot, next: number, committed: number): void {
    this.#held.set(slotName(slot), { slot, settlement: new Settlement(next), committed, fetched: [] });
  }

  /** Where a partition goes on, if it is held. */
  nextOf(slot: Slot): number | undefined {
    return this.#held.get(slotName(slot))?.settlement.next;
  }

  /** What to fetch: of every partition what comes next, or nothing while something fetched is left, so that it stays bounded. */
  wants(): Want[] {
    const all = [...this.#held.values()];
    if (all.some(({ fetched }) => fetched.length > 0)) return [];
    return all.map((held) => ({ ...held.slot, offset: held.settlement.next, held }));
  }

  /** Keeps what came for a want, except what is there already. */
  received(want: Want, records: readonly LogRecord[]): void {
    const held = this.#held.get(slotName(want));
    if (held === undefined || held !== want.held) return;
    const next = Math.max(held.settlement.next, (held.fetched.at(-1)?.offset ?? -1) + 1);
    held.fetched.push(...records.filter(({ offset }) => offset >= next));
  }

  /** Delivers of what was fetched, in offset order within each partition. Each time another partition comes first: none can starve. */
  take({ maxRecords, maxBytes }: ReadLimits): LogRecord[] {
    const taken: LogRecord[] = [];
    const all = [...this.#held.values()];
    let bytes = 0;
    for (let i = 0; i < all.length; i++) {
      const { settlement, fetched } = all[(this.#turn + i) % all.length]!;
      let count = 0;
      for (const record of fetched) {
        if (taken.length >= maxRecords || (taken.length > 0 && bytes + record.value.length > maxBytes)) break;
        settlement.deliver(record.offset);
        taken.push(record);
        bytes += record.value.length;
        count++;
      }
      fetched.splice(0, count);
    }
    this.#turn++;
    return taken;
  }

  /** Ignores what is not held. */
  settle(positions: readonly Position[]): void {
    for (const position of positions) this.#held.get(slotName(position))?.settlement.settle(position.offset);
  }

  /** What to commit: the offset below which everything is settled, where it is not what was committed last. */
  uncommitted(): Position[] {
    return [...this.#held.values()]
      .filter(({ settlement, committed }) => settlement.watermark !== committed)
      .map(({ slot, settlement }) => ({ ...slot, offset: settlement.watermark }));
  }

  committed(positions: readonly Position[]): void {
    for (const position of positions) {
      const held = this.#held.get(slotName(position));
      if (held !== undefined) held.committed = position.offset;
    }
  }

  /** Records of one topic that are held and not settled, delivered or not. */
  lag(topic: string, ends: readonly PartitionEnds[]): number {
    let lag = 0;
    for (const { partition, latest } of ends) {
      const settlement = this.#held.get(slotName({ topic, partition }))?.settlement;
      // Records that were settled out of order, above the watermark, are no longer waiting for anybody.
      if (settlement !== undefined) lag += Math.max(0, latest - settlement.next) + settlement.unsettled;
    }
    return lag;
  }
}
