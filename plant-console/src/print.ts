import type { ModelCard } from "@smile/schemas/documents";
import type { StoredGap } from "./gap-table.ts";
import type { Alert, AlertEvent, MachineRisk, RiskStore } from "./store.ts";

type Card = Pick<ModelCard, "headId" | "name" | "outputs" | "unit" | "alert">;

/** A risk as people read it: probabilities as per cent, everything else with its unit. */
export function formatRisk(risk: number, unit: string): string {
  return unit === "probability" ? `${(risk * 100).toFixed(risk >= 0.9995 || risk < 0.0005 ? 0 : 1)} %` : `${risk.toFixed(1)} ${unit}`;
}

/** One line per event, for instance `2026-01-03T04:00:00Z RAISED  pump-007  fails-within-48  93.1 %`. */
export function alertLine({ kind, alert }: AlertEvent, cards: readonly Card[]): string {
  const card = cards.find(({ headId }) => headId === alert.headId);
  const [atMs, risk] = kind === "raised" ? [alert.raisedAtMs, alert.raisedRisk] : [alert.clearedAtMs ?? 0, alert.clearedRisk ?? 0];
  return `${isoSeconds(atMs)} ${kind.toUpperCase().padEnd(7)}  ${alert.machine}  ${outputName(alert, card)}  ${formatRisk(risk, card?.unit ?? "")}`;
}

/** The event for programs: one JSON object per line. */
export function alertJson({ kind, alert }: AlertEvent, cards: readonly Card[]): string {
  const card = cards.find(({ headId }) => headId === alert.headId);
  const { raisedBy, ...rest } = alert;
  const { gateway, epoch, sequence, block, lane } = raisedBy;
  return JSON.stringify({ event: kind, model: card?.name ?? null, ...rest, raisedBy: { gateway, epoch, sequence, block, lane } });
}

/** One line per gap, for instance `2026-01-03T04:00:00Z LOST     hall-1  120 windows until 2026-01-03T09:30:00Z: the spool was full`. */
export function gapLine({ gateway, missingWindows, fromTimeMs, toTimeMs, reason }: StoredGap): string {
  const why = reason === "bytes" ? "the spool was full" : "they were too old";
  return `${isoSeconds(fromTimeMs)} LOST     ${gateway}  ${missingWindows} windows until ${isoSeconds(toTimeMs)}: ${why}`;
}

/** The gap for programs: one JSON object per line. */
export function gapJson(gap: StoredGap): string {
  return JSON.stringify({ event: "gap", ...gap });
}

export const RISK_TABLE_HEAD = ["machine", "risk", "window ended", "alert"] as const;

/**
 * The machines most at risk as rows of a table, worst first; the caller draws them.
 * @returns [rows][4] in the order of RISK_TABLE_HEAD
 */
export function riskTable(store: Pick<RiskStore, "mostAtRisk">, card: Card, options: { limit: number; output?: number }): string[][] {
  const worst = store.mostAtRisk({ headId: card.headId, direction: card.alert.direction, ...options });
  return worst.map(({ machine, risk, frameTimeMs, raised }: MachineRisk) => [
    machine,
    formatRisk(risk, card.unit),
    isoSeconds(frameTimeMs),
    raised ? "raised" : "",
  ]);
}

function outputName(alert: Alert, card: Card | undefined): string {
  const output = card?.outputs[alert.output] ?? String(alert.output);
  return card && card.outputs.length > 1 ? `${card.name}/${output}` : (card?.name ?? alert.headId.slice(0, 12));
}

function isoSeconds(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(/\.\d{3}Z$/, "Z");
}
