import type { MessageId } from "@smile/schemas/envelopes";

/** Closed ranges of sequences of one gateway and epoch, ascending and apart from each other: [first, last, first, last, ...]. */
type Ranges = number[];

/** What `snapshot` gives and `restore` takes: JSON-able, who was silent for longest first within each plant. */
export type SeenSnapshot = readonly {
  readonly plant: string;
  readonly gateway: string;
  readonly epoch: number;
  readonly ranges: readonly number[];
}[];

/** Where senders of one plant are told from those of another. */
export type SenderId = MessageId & { readonly plant: string };

export type SeenBounds = {
  /** Of one epoch. */
  readonly ranges: number;
  /** Of one gateway. */
  readonly epochs: number;
  /** Of a snapshot's JSON, all plants together. */
  readonly bytes: number;
};

/** Gateways of a plant and their epochs, each in the order of their last frame. `bytes`: at most what they take in a snapshot. */
type Plant = { readonly gateways: Map<string, Map<number, Ranges>>; bytes: number };

/** Of an epoch's JSON without its names and ranges, and of one range: numbers below 2^53 have 16 digits. */
const EPOCH_BYTES = 64;
const RANGE_BYTES = 34;

/**
 * Which frames were dealt with, by (plant, gateway, epoch, sequence): sent again, they are told apart. Sequences come almost in order,
 * so a gateway takes one or two ranges; what a gateway leaves out for good costs one more. Bounded, and who goes beyond a bound pays
 * with what is known of itself: an epoch forgets its lowest range, a gateway its epoch that was silent for longest, and when all plants
 * together are too much, the largest one forgets its gateway that was silent for longest. What is forgotten may pass a second time, which
 * the plant tells apart; taking a frame for seen that was not would lose it.
 */
export class SeenFrames {
  readonly #bounds: SeenBounds;
  readonly #plants = new Map<string, Plant>();
  #bytes = 0;

  constructor(bounds: SeenBounds) {
    this.#bounds = bounds;
  }

  /** Whether the frame was dealt with before. */
  has({ plant, gateway, epoch, sequence }: SenderId): boolean {
    const ranges = this.#plants.get(plant)?.gateways.get(gateway)?.get(epoch) ?? [];
    const at = lastStartingBy(ranges, sequence);
    return at >= 0 && sequence <= ranges[at + 1]!;
  }

  /** Notes that the frame is dealt with. */
  add({ plant, gateway, epoch, sequence }: SenderId): void {
    this.#change({ plant, gateway, epoch }, (ranges) => insert(ranges, sequence));
  }

  snapshot(): SeenSnapshot {
    return [...this.#plants].flatMap(([plant, { gateways }]) =>
      [...gateways].flatMap(([gateway, epochs]) => [...epochs].map(([epoch, ranges]) => ({ plant, gateway, epoch, ranges: [...ranges] }))),
    );
  }

  /** Adds what a snapshot holds to what is known, within the bounds of this one. */
  restore(snapshot: SeenSnapshot): void {
    for (const { ranges, ...sender } of snapshot) this.#change(sender, (known) => known.splice(0, Infinity, ...union(known, ranges)));
  }

  #change({ plant, gateway, epoch }: Omit<SenderId, "sequence">, change: (ranges: Ranges) => void): void {
    const holder = this.#plants.get(plant) ?? { gateways: new Map(), bytes: 0 };
    this.#plants.set(plant, holder);
    const epochs = holder.gateways.get(gateway) ?? new Map<number, Ranges>();
    const ranges = epochs.get(epoch) ?? [];
    let grown = -bytesOf(plant, gateway, ranges);
    change(ranges);
    ranges.splice(0, Math.max(0, ranges.length - 2 * this.#bounds.ranges));
    grown += bytesOf(plant, gateway, ranges);
    // To the end: who was silent for longest comes first.
    epochs.delete(epoch);
    epochs.set(epoch, ranges);
    holder.gateways.delete(gateway);
    holder.gateways.set(gateway, epochs);
    this.#count(holder, grown);
    if (epochs.size > this.#bounds.epochs) this.#forget(plant, holder, gateway);
    while (this.#bytes > this.#bounds.bytes) this.#forgetOfLargest();
  }

  #forgetOfLargest(): void {
    const [plant, holder] = [...this.#plants].reduce((largest, each) => (each[1].bytes > largest[1].bytes ? each : largest));
    this.#forget(plant, holder, holder.gateways.keys().next().value!);
  }

  /** Forgets the gateway's epoch that was silent for longest. */
  #forget(plant: string, holder: Plant, gateway: string): void {
    const epochs = holder.gateways.get(gateway)!;
    const [epoch, ranges] = epochs.entries().next().value!;
    epochs.delete(epoch);
    this.#count(holder, -bytesOf(plant, gateway, ranges));
    if (epochs.size === 0) holder.gateways.delete(gateway);
    if (holder.gateways.size === 0) this.#plants.delete(plant);
  }

  #count(holder: Plant, bytes: number): void {
    holder.bytes += bytes;
    this.#bytes += bytes;
  }
}

/** Nothing for an epoch that is not there yet: it has no ranges. */
function bytesOf(plant: string, gateway: string, ranges: Ranges): number {
  return ranges.length === 0 ? 0 : EPOCH_BYTES + plant.length + gateway.length + (RANGE_BYTES * ranges.length) / 2;
}

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
