import { createHistogram } from "node:perf_hooks";

/** How long windows took from being closed at the gateway to being stored here, in whole ms; both clocks have to agree for it. */
export class LatencyFigure {
  readonly #histogram = createHistogram({ lowest: 1, highest: 24 * 60 * 60 * 1000, figures: 3 });

  /** Clocks that disagree may make it negative; then it counts as the smallest. */
  record(ms: number): void {
    this.#histogram.record(Math.min(24 * 60 * 60 * 1000, Math.max(1, Math.round(ms))));
  }

  /** @returns figures in ms; 0 when nothing was recorded */
  read(): { readonly count: number; readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number } {
    const { count } = this.#histogram;
    if (count === 0) return { count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 };
    const at = (percentile: number) => this.#histogram.percentile(percentile);
    return { count, p50Ms: at(50), p99Ms: at(99), maxMs: this.#histogram.max };
  }
}
