import type { LiftedWindow } from "@smile/features/spec";
import type { LaneMap } from "./lane-map.ts";

/** Windows of one block and one end, each in its machine's lane, lanes ascending: what one ciphertext will hold. */
export type SealedWindows = {
  readonly block: number;
  /** End of every window in it, event time in milliseconds. */
  readonly frameTimeMs: number;
  readonly entries: readonly { readonly lane: number; readonly window: LiftedWindow }[];
};

export type AssembleRule = {
  /** How long the first window of a frame waits for the others, on the caller's monotonic clock. */
  readonly lingerMs: number;
  /** Window ends that one block may have open; one more seals the oldest. At least 1. */
  readonly largestOpenEnds: number;
};

type Group = {
  readonly block: number;
  readonly endMs: number;
  readonly sinceMs: number;
  readonly windows: Map<string, { readonly lane: number; readonly window: LiftedWindow }>;
  /** So many of the block's members, from the first on, have arrived: none of them goes back. */
  arrived: number;
};

/**
 * Puts windows together that ended at the same time, one per machine. A group is sealed as soon as each machine of its block has
 * arrived at that end or gone past it (a machine's windows come in order of their ends), when a newer end goes beyond the bound,
 * or when its linger is over. Knows no clock: time comes in as an argument. Bounded by machines * largestOpenEnds windows.
 */
export class FrameAssembler {
  readonly #places: LaneMap;
  readonly #rule: AssembleRule;
  /** Machines of each block. */
  readonly #members = new Map<number, string[]>();
  /** Open groups of each block, ends ascending. */
  readonly #open = new Map<number, Group[]>();
  /** The newest end that each machine has arrived at. */
  readonly #arrivedMs = new Map<string, number>();
  #refused = 0;

  constructor(places: LaneMap, rule: AssembleRule) {
    if (!(rule.largestOpenEnds >= 1)) throw new RangeError(`largestOpenEnds is ${rule.largestOpenEnds}; it must be at least 1`);
    this.#places = places;
    this.#rule = rule;
    for (const [machine, { block }] of places) {
      const members = this.#members.get(block);
      if (members) members.push(machine);
      else this.#members.set(block, [machine]);
    }
  }

  /** Windows refused because their machine has no lane. */
  get refused(): number {
    return this.#refused;
  }

  /** When the next group's linger is over, on the caller's clock; null while nothing is open. */
  get deadlineMs(): number | null {
    let deadline: number | null = null;
    for (const groups of this.#open.values()) {
      for (const { sinceMs } of groups)
        if (deadline === null || sinceMs + this.#rule.lingerMs < deadline) deadline = sinceMs + this.#rule.lingerMs;
    }
    return deadline;
  }

  /** The newest window end of a machine, or null before its first. */
  arrivedMs(machine: string): number | null {
    return this.#arrivedMs.get(machine) ?? null;
  }

  /**
   * Takes a window. One of a machine without a lane is refused and counted; a second one of the same machine and end opens a frame
   * of its own.
   * @returns what this sealed, in order of its ends
   */
  add(window: LiftedWindow, atMs: number): SealedWindows[] {
    const { machine, endMs } = window;
    const place = this.#places.get(machine);
    if (place === undefined) {
      this.#refused++;
      return [];
    }
    const { block, lane } = place;
    const groups = this.#groups(block);
    const sealed: SealedWindows[] = [];
    let at = groups.findIndex((group) => group.endMs >= endMs);
    if (at < 0) at = groups.length;
    let group = groups[at];
    if (group?.endMs === endMs && group.windows.has(machine)) {
      sealed.push(this.#seal(group));
      groups.splice(at, 1);
      group = undefined;
    }
    if (group?.endMs !== endMs) {
      group = { block, endMs, sinceMs: atMs, windows: new Map(), arrived: 0 };
      groups.splice(at, 0, group);
    }
    group.windows.set(machine, { lane, window });
    this.#arrivedMs.set(machine, Math.max(endMs, this.#arrivedMs.get(machine) ?? endMs));
    while (groups.length > this.#rule.largestOpenEnds) sealed.push(this.#seal(groups.shift()!));
    // A machine can only complete groups up to its own end; what is complete is a run from the oldest on.
    while (groups.length > 0 && this.#isComplete(groups[0]!)) sealed.push(this.#seal(groups.shift()!));
    return sealed;
  }

  /** Seals every group whose linger is over. */
  tick(atMs: number): SealedWindows[] {
    return this.#take((group) => atMs - group.sinceMs >= this.#rule.lingerMs);
  }

  /** Seals everything: for the end of a stream, or before the deployment changes. */
  sealAll(): SealedWindows[] {
    return this.#take(() => true);
  }

  /**
   * Puts back what was open when a store last committed; the lingers begin anew.
   * @param arrived newest end per machine
   * @returns what this sealed already: windows of machines that were taken out of the lease are not among them
   */
  restore(windows: Iterable<LiftedWindow>, arrived: Iterable<readonly [machine: string, endMs: number]>, atMs: number): SealedWindows[] {
    for (const [machine, endMs] of arrived) if (this.#places.has(machine)) this.#arrivedMs.set(machine, endMs);
    return [...windows].toSorted((a, b) => a.endMs - b.endMs).flatMap((window) => this.add(window, atMs));
  }

  #take(due: (group: Group) => boolean): SealedWindows[] {
    const sealed: SealedWindows[] = [];
    for (const [block, groups] of this.#open) {
      for (const group of groups) if (due(group)) sealed.push(this.#seal(group));
      this.#open.set(
        block,
        groups.filter((group) => !due(group)),
      );
    }
    return sealed;
  }

  #groups(block: number): Group[] {
    let groups = this.#open.get(block);
    if (groups === undefined) {
      groups = [];
      this.#open.set(block, groups);
    }
    return groups;
  }

  #isComplete(group: Group): boolean {
    const members = this.#members.get(group.block)!;
    while (group.arrived < members.length && (this.#arrivedMs.get(members[group.arrived]!) ?? Number.NEGATIVE_INFINITY) >= group.endMs)
      group.arrived++;
    return group.arrived === members.length;
  }

  #seal({ block, endMs, windows }: Group): SealedWindows {
    return { block, frameTimeMs: endMs, entries: [...windows.values()].toSorted((a, b) => a.lane - b.lane) };
  }
}
