import type { ConsoleJournal } from "./console-journal.ts";
import { type FrameEntry, frameKey, laneKey, type RiskEntry } from "./journals.ts";
import type { Trigger } from "./schedule.ts";

const LOOK_MS = 50;

type Watch = { readonly wants: (risk: RiskEntry) => boolean; readonly found: (atMs: number) => void };

/** What can be seen of the pipeline from outside while it works: acknowledgements to gateways, and risks at the console. */
export class Progress implements Disposable {
  readonly #console: ConsoleJournal;
  readonly #timer: NodeJS.Timeout;
  readonly #watches = new Set<Watch>();
  readonly #acknowledgedAtMs = new Map<string, number>();
  /** Acknowledged windows without a risk. */
  readonly #outstanding = new Set<string>();
  readonly #early = new Set<string>();
  #news = Promise.withResolvers<void>();
  /** When anything came last, monotonic. */
  lastMs = performance.now();
  readonly acknowledged: FrameEntry[] = [];

  constructor(console: ConsoleJournal) {
    this.#console = console;
    this.#timer = setInterval(() => this.look(), LOOK_MS);
  }

  get risks(): number {
    return this.#console.risks.length;
  }

  /** Windows that were acknowledged and have no risk yet. */
  get outstanding(): number {
    return this.#outstanding.size;
  }

  /** Takes note of a frame that its gateway was told is safe; a repeated acknowledgement changes nothing. */
  acknowledge(frame: FrameEntry): void {
    const key = frameKey(frame);
    if (this.#acknowledgedAtMs.has(key)) return;
    this.#acknowledgedAtMs.set(key, performance.now());
    this.acknowledged.push(frame);
    for (const lane of frame.lanes) {
      const window = laneKey(frame, lane);
      if (!this.#early.delete(window)) this.#outstanding.add(window);
    }
    this.#tell();
  }

  /** Reads what the console has stored since the last look. */
  look(): void {
    const risks = this.#console.read();
    if (risks.length === 0) return;
    const atMs = performance.now();
    for (const risk of risks) {
      const window = laneKey(risk, risk.lane);
      if (!this.#outstanding.delete(window)) this.#early.add(window); // the console was quicker than the acknowledgement
      for (const watch of this.#watches) {
        if (!watch.wants(risk)) continue;
        this.#watches.delete(watch);
        watch.found(atMs);
      }
    }
    this.#tell();
  }

  /** Resolves with true once the trigger's progress was made since `from`, with false when nothing at all came for `patienceMs`. */
  async reached({ on, count }: Trigger, patienceMs: number): Promise<boolean> {
    const now = () => (on === "risks" ? this.risks : this.acknowledged.length);
    const goal = now() + count;
    this.lastMs = performance.now();
    while (now() < goal) if (!(await this.#changed(patienceMs))) return false;
    return true;
  }

  /** Resolves with true when no window is outstanding, with false when nothing came for `patienceMs`. */
  async settled(patienceMs: number): Promise<boolean> {
    this.lastMs = performance.now();
    while (this.outstanding > 0) if (!(await this.#changed(patienceMs))) return false;
    return true;
  }

  /**
   * When the plant got the first risk of a window that was acknowledged after a moment.
   * @param gateway whose windows count; all gateways' when it is not given
   */
  recovered(sinceMs: number, gateway?: string): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    const wants = (risk: RiskEntry) =>
      (gateway === undefined || risk.gateway === gateway) && (this.#acknowledgedAtMs.get(frameKey(risk)) ?? -1) >= sinceMs;
    this.#watches.add({ wants, found: resolve });
    return promise;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #tell(): void {
    this.lastMs = performance.now();
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }

  async #changed(patienceMs: number): Promise<boolean> {
    const late = Promise.withResolvers<"late">();
    const timer = setTimeout(() => late.resolve("late"), Math.max(0, this.lastMs + patienceMs - performance.now()));
    try {
      return (await Promise.race([this.#news.promise, late.promise])) !== "late";
    } finally {
      clearTimeout(timer);
    }
  }
}
