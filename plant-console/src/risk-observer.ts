import type { DurationHistogram } from "@smile/runtime/metrics";
import type { TimeSeries } from "@smile/runtime/time-series";
import type { Deployment } from "@smile/schemas/documents";
import type { StoredGap } from "./gap-table.ts";
import { windowToRiskHistogram } from "./metrics.ts";
import { RiskPoints } from "./risk-points.ts";
import type { AlertEvent, StoredRisk } from "./store.ts";

/** Takes note of every risk, alert and gap after it was stored: for the console's figures, and for the time series where there is one. */
export class RiskObserver {
  readonly latency: DurationHistogram = windowToRiskHistogram();
  /** Wall clock in ms of the last risk that was stored. */
  lastStoredMs: number | undefined;
  readonly #plant: string;
  readonly #timeSeries: TimeSeries | undefined;
  #points: { readonly of: Deployment; readonly points: RiskPoints } | undefined;

  constructor(plant: string, timeSeries: TimeSeries | undefined) {
    this.#plant = plant;
    this.#timeSeries = timeSeries;
  }

  risk(risk: StoredRisk, deployment: Deployment): void {
    this.lastStoredMs = risk.storedAtMs;
    this.latency.observe((risk.storedAtMs - risk.closedAtMs) / 1000);
    this.#timeSeries?.write(this.#pointsOf(deployment).risk(risk));
  }

  alert(event: AlertEvent, deployment: Deployment): void {
    this.#timeSeries?.write(this.#pointsOf(deployment).alert(event));
  }

  gap(gap: StoredGap, deployment: Deployment): void {
    this.#timeSeries?.write(this.#pointsOf(deployment).gap(gap));
  }

  #pointsOf(deployment: Deployment): RiskPoints {
    if (this.#points?.of !== deployment) this.#points = { of: deployment, points: new RiskPoints(this.#plant, deployment) };
    return this.#points.points;
  }
}
