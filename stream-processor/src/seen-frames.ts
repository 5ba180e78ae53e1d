import type { MessageId } from "@smile/schemas/envelopes";

/** Closed ranges of sequences of one gateway and epoch, ascending and apart from each other: [first, last, first, last, ...]. */
type Ranges = number[];

/** What `snapshot` gives and `restore` takes: JSON-able. */
export type SeenSnapshot = {
  readonly plant: string;
  readonly gateway: string;
  readonly epoch: number;
  readonly ranges: readonly number[];
}[];

/** Where senders of one plant are told from those of another. */
export type SenderId = MessageId & { readonly plant: string };

/**
 * Which frames were dealt with, by (plant, gateway, epoch, sequence): sent again, they are told apart. Sequences come almost in order,
 * so a gateway takes one or two ranges; what a gateway leaves out for good costs one more. Bounded: beyond `rangesPerSender` the lowest
 * range is forgotten, and beyond `senders` the one that was silent for longest. What is forgotten may pass a second time, which the
 * plant tells apart; taking a frame for seen that was not would lose it.
 */
export class SeenFrames {
  readonly #bounds: { readonly senders: number; readonly rangesPerSender: number };
  readonly #senders = new Map<string, { readonly plant: string; readonly gateway: string; readonly epoch: number; ranges: Ranges }>();

  constructor(bounds: { readonly senders: number; readonly rangesPerSender: number }) {
    this.#bounds = bounds;
  }

  /** Whether the frame was dealt with before. */
  has({ plant, gateway, epoch, sequence }: SenderId): boolean {
    const ranges = this.#senders.get(key(plant, gateway, epoch))?.ranges ?? [];
    const at = lastStartingBy(ranges, sequence);
    return at >= 0 && sequence <= ranges[at + 1]!;
  }

  /** Notes that the frame is dealt with. */
  add({ plant, gateway, epoch, sequence }: SenderId): void {
    const id = key(plant, gateway, epoch);
    const sender = this.#senders.get(id) ?? { plant, gateway, epoch, ranges: [] };
    this.#senders.delete(id);
    this.#senders.set(id, sender);
    insert(sender.ranges, sequence);
    if (sender.ranges.length > 2 * this.#bounds.rangesPerSender) sender.ranges.splice(0, 2);
    if (this.#senders.size > this.#bounds.senders) this.#senders.delete(this.#senders.keys().next().value!);
  }

  snapshot(): SeenSnapshot {
    return [...this.#senders.values()].map(({ plant, gateway, epoch, ranges }) => ({ plant, gateway, epoch, ranges: [...ranges] }));
  }

  /** Adds what a snapshot holds to what is known. */
  restore(snapshot: SeenSnapshot): void {
    for (const { plant, gateway, epoch, ranges } of snapshot) {
      const id = key(plant, gateway, epoch);
      const known = this.#senders.get(id)?.ranges ?? [];
      this.#senders.delete(id);
      this.#senders.set(id, { plant, gateway, epoch, ranges: union(known, ranges) });
    }
  }
}

const key = (plant: string, gateway: string, epoch: number) => `${plant} ${gateway} ${epoch}`;

/** Index of the last range that starts at or below a sequence; -2 when there is none. Ranges are few and the newest is the likely one. */
function lastStartingBy(ranges: Ranges, sequence: number): number {
  let at = ranges.length - 2;
  while (at >= 0 && ranges[at]! > sequence) at -= 2;
  return at;
}

function insert(ranges: Ranges, sequence: number): void {
  const at = lastStartingBy(ranges, sequence);
  if (at >= 0 && sequence <= ranges[at + 1]!) return;
  const joinsLower = at >= 0 && ranges[at + 1] === sequence - 1;
  const joinsUpper = ranges[at + 2] === sequence + 1;
  if (joinsLower && joinsUpper) ranges.splice(at + 1, 2);
  else if (joinsLower) ranges[at + 1] = sequence;
  else if (joinsUpper) ranges[at + 2] = sequence;
  else ranges.splice(at + 2, 0, sequence, sequence);
}

function union(a: readonly number[], b: readonly number[]): Ranges {
  const pairs = [...a, ...b].flatMap((first, i, all) => (i % 2 === 0 ? [[first, all[i + 1]!] as const] : [])).sort(([x], [y]) => x - y);
  const ranges: Ranges = [];
  for (const [first, last] of pairs) {
    if (ranges.length > 0 && first <= ranges.at(-1)! + 1) ranges[ranges.length - 1] = Math.max(ranges.at(-1)!, last);
    else ranges.push(first, last);
  }
  return ranges;
}
