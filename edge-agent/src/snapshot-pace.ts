/**
 * Which machines' states are due. Writing a state is dear, and a row can be taken again from where a state left off: so rows are kept as
 * they come, and of the states only as many bytes are written as of rows, longest waiting first. What is written stays within twice the
 * rows, and the rows that are kept within about what all states take up, overhead included, whatever machines fall silent.
 */
export class SnapshotPace {
  /** Machines with rows that their stored states do not cover, and the commit since which; oldest first. */
  readonly #waiting = new Map<string, number>();
  /** Bytes of states that may be written. */
  #credit = 0;

  /** Notes that a machine has rows of a commit; commits come in their order. */
  wait(machine: string, commit: number): void {
    if (!this.#waiting.has(machine)) this.#waiting.set(machine, commit);
  }

  /**
   * @param rowBytes of the rows since the last commit
   * @param snapshot the state of a machine, as it will be written
   * @param required machines whose states are written in any case
   */
  plan<State extends { readonly machine: string; readonly snapshot: string }>(
    rowBytes: number,
    snapshot: (machine: string) => State,
    required: Iterable<string>,
  ): SnapshotPlan<State> {
    const states = new Map(Array.from(required, (machine) => [machine, snapshot(machine)]));
    let credit = this.#credit + rowBytes;
    for (const { snapshot: text } of states.values()) credit -= text.length + STATE_OVERHEAD_BYTES;
    for (const machine of this.#waiting.keys()) {
      if (credit <= 0) break;
      if (states.has(machine)) continue;
      const state = snapshot(machine);
      credit -= state.snapshot.length + STATE_OVERHEAD_BYTES;
      states.set(machine, state);
    }
    // What was written ahead need not be earned back for ever: a machine's first state is no reason to let the others wait.
    return { states, credit: Math.max(credit, -MOST_DEBT) };
  }

  /** Commit from which rows are needed once the plan is durable; undefined when none are. */
  neededFrom({ states }: SnapshotPlan<unknown>): number | undefined {
    for (const [machine, commit] of this.#waiting) if (!states.has(machine)) return commit;
    return undefined;
  }

  /** The plan is durable. */
  done({ states, credit }: SnapshotPlan<unknown>): void {
    for (const machine of states.keys()) this.#waiting.delete(machine);
    this.#credit = this.#waiting.size === 0 ? Math.min(credit, 0) : credit;
  }
}

export type SnapshotPlan<State> = { readonly states: ReadonlyMap<string, State>; readonly credit: number };

/** What taking and writing a state costs beside its bytes, as bytes of rows: where windows hold few rows, it is most of the work. */
export const STATE_OVERHEAD_BYTES = 512;
/** Bytes. */
const MOST_DEBT = 1 << 16;
