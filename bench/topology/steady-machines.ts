import { setTimeout as delay } from "node:timers/promises";
import type { RowBatch, RowSource } from "@smile/edge-agent/source";
import { SENSORS } from "./model.ts";

const TICK_MS = 4;
/** Behind its rate by more than this, a source gives up what it missed: the offered load stays what it says. */
const LONGEST_DEBT_MS = 500;
/** What the sensors read, again and again: made ahead, since simulating machines is no gateway's work. */
const READINGS = Array.from({ length: 97 }, (_, phase) =>
  Object.fromEntries(SENSORS.map((sensor, i) => [sensor, ((phase * (2 * i + 7)) % 97) / 97])),
);

/**
 * Machines that each close one window with every row, a whole block of lanes at a time: full frames at a steady rate, evenly spread.
 * Event time goes on by one hop per round, whatever the rate. When the agent does not keep up, rows are left out, as `emitted` tells.
 */
export class SteadyMachines implements RowSource {
  readonly #blocks: readonly (readonly string[])[];
  readonly #hopMs: number;
  readonly #startMs: number;
  #windowsPerSecond = 0;
  #sinceMs = 0;
  #position = 0;
  #next = 0;
  /** Rows handed out. */
  emitted = 0;
  #owed = 0;

  /** @param options.lanes L: machines of one frame @param options.hopMs of the feature set */
  constructor({ machines, lanes, hopMs }: { machines: readonly string[]; lanes: number; hopMs: number }) {
    this.#blocks = Array.from({ length: Math.ceil(machines.length / lanes) }, (_, b) => machines.slice(b * lanes, (b + 1) * lanes));
    this.#hopMs = hopMs;
    this.#startMs = Math.ceil(Date.now() / hopMs) * hopMs;
  }

  setRate(windowsPerSecond: number): void {
    this.#windowsPerSecond = windowsPerSecond;
    this.#sinceMs = performance.now();
    this.#owed = 0;
  }

  async *batches(stop: AbortSignal): AsyncGenerator<RowBatch> {
    while (!stop.aborted) {
      const nowMs = performance.now();
      const most = (this.#windowsPerSecond * LONGEST_DEBT_MS) / 1000;
      this.#owed = Math.min(most, this.#owed + ((nowMs - this.#sinceMs) / 1000) * this.#windowsPerSecond);
      this.#sinceMs = nowMs;
      const rows: RowBatch["rows"][number][] = [];
      for (;;) {
        const block = this.#blocks[this.#next % this.#blocks.length]!;
        if (this.#owed < block.length || rows.length >= 256) break;
        const timeMs = this.#startMs + (Math.floor(this.#next / this.#blocks.length) + 1) * this.#hopMs;
        for (const machine of block) rows.push({ machine, timeMs, values: this.#values() });
        this.#owed -= block.length;
        this.#next += 1;
      }
      if (rows.length === 0) {
        await delay(TICK_MS);
        continue;
      }
      this.emitted += rows.length;
      this.#position += rows.length;
      yield { rows, position: this.#position, malformed: 0 };
    }
  }

  ack(): void {}

  #values(): Record<string, number> {
    return READINGS[(this.emitted + this.#next) % READINGS.length]!;
  }
}
