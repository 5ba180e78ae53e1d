import { frameKey, type GapEntry, type Journals, laneKey, type RiskEntry, windowKey } from "./journals.ts";

/** When an alert is raised and cleared: of a card whose direction is "above". */
export type Hysteresis = { readonly raise: number; readonly clear: number };

/** What the journals of a schedule say. All but `acknowledged`, `risks`, `late` and `dropped` must be 0. */
export type Verdict = {
  /** Windows in frames that were acknowledged to their gateway. */
  readonly acknowledged: number;
  readonly risks: number;
  /** Risks of windows older than one stored before, of the same machine: they must not have moved an alert. */
  readonly late: number;
  /** Acknowledged windows without a risk, and where the first of the places is that does not know them. */
  readonly lost: number;
  readonly lostBefore: { readonly log: number; readonly score: number; readonly risk: number };
  /** Risks beyond the first of the same window. */
  readonly duplicated: number;
  /** Risks whose window nobody acknowledged. */
  readonly unexpected: number;
  /** Alerts that differ from those that the windows give in event order, late ones left out; machines whose newest window is not the newest. */
  readonly outOfOrder: number;
  /** Windows that gateways had to drop, counted in what they told the plant, less those that arrived all the same. */
  readonly dropped: number;
  /**
   * Windows of the machines' rows that have another score at the plant than the head gives on the plaintext, that are missing without a
   * gap over their time, or by which what is missing of a gateway differs from what it told.
   */
  readonly wrong: number;
  /** Bad messages that were taken without a dead letter. */
  readonly unrefused: number;
};

/** Compares the journals of a schedule, after the pipeline came to rest. Pure. */
export function check(journals: Journals, rule: Hysteresis): Verdict {
  const { risks } = journals;
  const acknowledged = new Set(journals.acknowledged.flatMap((frame) => frame.lanes.map((lane) => laneKey(frame, lane))));
  const frameOf = new Map(journals.acknowledged.flatMap((frame) => frame.lanes.map((lane) => [laneKey(frame, lane), frame] as const)));
  const seen = new Set(risks.map((risk) => laneKey(risk, risk.lane)));
  const appended = new Set(journals.appended.map(frameKey));
  const scored = new Set(journals.scored.map(frameKey));
  const lostBefore = { log: 0, score: 0, risk: 0 };
  for (const [key, frame] of frameOf) {
    if (seen.has(key)) continue;
    const place = !appended.has(frameKey(frame)) ? "log" : !scored.has(frameKey(frame)) ? "score" : "risk";
    lostBefore[place] += 1;
  }
  const visible = new Set(risks.map(visibleKey));
  const decided = decisions(risks, rule);
  return {
    acknowledged: acknowledged.size,
    risks: risks.length,
    late: decided.late,
    lost: lostBefore.log + lostBefore.score + lostBefore.risk,
    lostBefore,
    duplicated: risks.length - visible.size,
    unexpected: [...seen].filter((key) => !acknowledged.has(key)).length,
    outOfOrder: differences(decided.alerts, journals.alerts.map(alertKey)) + differences(decided.newest, journals.newest.map(newestKey)),
    ...compareWithRows(journals),
    unrefused: missing(journals.provoked, journals.refused),
  };
}

/** Whether a verdict is one of a pipeline that keeps its word. */
export function isGood({ lost, duplicated, outOfOrder, unexpected, wrong, unrefused }: Verdict): boolean {
  return lost + duplicated + outOfOrder + unexpected + wrong + unrefused === 0;
}

function visibleKey({ machine, frameTimeMs, headId, output }: RiskEntry): string {
  return `${machine} ${frameTimeMs} ${headId} ${output}`;
}

/** The alerts that follow from the risks in the order of their arrival, when a window older than the newest changes nothing. */
function decisions(risks: readonly RiskEntry[], { raise, clear }: Hysteresis) {
  const machines = new Map<string, { newestMs: number; alerts: { raisedAtMs: number; clearedAtMs: number | null }[] }>();
  let late = 0;
  for (const { machine, frameTimeMs, risk } of risks) {
    const state = machines.get(machine) ?? { newestMs: Number.NEGATIVE_INFINITY, alerts: [] };
    machines.set(machine, state);
    if (frameTimeMs < state.newestMs) {
      late += 1;
      continue;
    }
    state.newestMs = frameTimeMs;
    const last = state.alerts.at(-1);
    const open = last !== undefined && last.clearedAtMs === null ? last : undefined;
    if (open === undefined && risk >= raise) state.alerts.push({ raisedAtMs: frameTimeMs, clearedAtMs: null });
    else if (open !== undefined && risk <= clear) open.clearedAtMs = frameTimeMs;
  }
  const all = [...machines];
  return {
    late,
    alerts: all.flatMap(([machine, { alerts }]) => alerts.map((alert) => alertKey({ machine, ...alert }))),
    newest: all.map(([machine, { newestMs }]) => newestKey({ machine, frameTimeMs: newestMs })),
  };
}

function alertKey({ machine, raisedAtMs, clearedAtMs }: Journals["alerts"][number]): string {
  return `${machine} ${raisedAtMs} ${clearedAtMs}`;
}

function newestKey({ machine, frameTimeMs }: Journals["newest"][number]): string {
  return `${machine} ${frameTimeMs}`;
}

function compareWithRows({ risks, gaps, expected }: Journals): Pick<Verdict, "dropped" | "wrong"> {
  const scores = new Map(risks.map((risk) => [windowKey(risk.machine, risk.frameTimeMs), risk.score]));
  const stored = expected.filter(({ machine, endMs }) => scores.has(windowKey(machine, endMs)));
  const missing = expected.filter(({ machine, endMs }) => !scores.has(windowKey(machine, endMs)));
  let dropped = 0;
  let wrong = stored.filter(({ machine, endMs, score }) => scores.get(windowKey(machine, endMs)) !== score).length;
  for (const gateway of new Set([...expected, ...gaps].map((entry) => entry.gateway))) {
    const own = gaps.filter((gap) => gap.gateway === gateway);
    const absent = missing.filter((window) => window.gateway === gateway);
    const told = own.reduce((sum, gap) => sum + gap.windows - arrivedOf(gap, risks), 0);
    const isCovered = (endMs: number) => own.some(({ fromTimeMs, toTimeMs }) => fromTimeMs <= endMs && endMs <= toTimeMs);
    dropped += told;
    wrong += Math.max(absent.filter(({ endMs }) => !isCovered(endMs)).length, Math.abs(absent.length - told));
  }
  return { dropped, wrong };
}

/** Windows of a gap that came all the same: a gateway cannot know what had arrived of what it dropped. */
function arrivedOf({ gateway, epoch, fromSequence, toSequence }: GapEntry, risks: readonly RiskEntry[]): number {
  const isIn = (risk: RiskEntry) =>
    risk.gateway === gateway && risk.epoch === epoch && fromSequence <= risk.sequence && risk.sequence <= toSequence;
  return new Set(risks.filter(isIn).map((risk) => laneKey(risk, risk.lane))).size;
}

/** Elements of either list that the other has not, counting repeats. */
function differences(a: readonly string[], b: readonly string[]): number {
  return Math.max(missing(a, b), missing(b, a));
}

/** How many of `wanted` `found` has not, counting repeats. */
function missing(wanted: readonly string[], found: readonly string[]): number {
  const left = new Map<string, number>();
  for (const each of found) left.set(each, (left.get(each) ?? 0) + 1);
  return wanted.filter((each) => {
    const count = left.get(each) ?? 0;
    left.set(each, count - 1);
    return count <= 0;
  }).length;
}
