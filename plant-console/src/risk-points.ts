import type { Point } from "@smile/runtime/time-series";
import type { Deployment } from "@smile/schemas/documents";
import type { StoredGap } from "./gap-table.ts";
import type { AlertEvent, StoredRisk } from "./store.ts";

/** Enough of a head's id to tell heads of one name apart; ids are hashes. */
const shortIdLength = 12;

/**
 * Risks, alerts and gaps of a plant as points. They are decrypted results: the database that they go to belongs to the plant. Series are told
 * apart by plant, machine, head (the card's name), head id and output.
 */
export class RiskPoints {
  readonly #plant: string;
  readonly #heads: ReadonlyMap<string, { readonly name: string; readonly outputs: readonly string[] }>;

  constructor(plant: string, { cards }: Pick<Deployment, "cards">) {
    this.#plant = plant;
    this.#heads = new Map(cards.map(({ headId, name, outputs }) => [headId, { name, outputs }]));
  }

  /** `smile_machine`: risk in the unit of the card and integer score, at the end of the window. */
  risk({ machine, headId, output, frameTimeMs, risk, score }: StoredRisk): Point {
    return { measurement: "smile_machine", tags: this.#tags(machine, headId, output), fields: { risk, score }, timeMs: frameTimeMs };
  }

  /** `smile_alert`: open 1 when it is raised, 0 when it is cleared, with the risk that did it, at the end of that window. */
  alert({ kind, alert }: AlertEvent): Point {
    const { machine, headId, output, raisedAtMs, raisedRisk } = alert;
    const isRaised = kind === "raised";
    return {
      measurement: "smile_alert",
      tags: this.#tags(machine, headId, output),
      fields: { open: isRaised ? 1 : 0, risk: isRaised ? raisedRisk : (alert.clearedRisk ?? raisedRisk) },
      timeMs: isRaised ? raisedAtMs : (alert.clearedAtMs ?? raisedAtMs),
    };
  }

  /** `smile_gap`: frames and windows of a gateway that will never come, at the end of the last of them, and the seconds they span. */
  gap({ gateway, reason, missingFrames, missingWindows, fromTimeMs, toTimeMs }: StoredGap): Point {
    const fields = { frames: missingFrames, windows: missingWindows, seconds: (toTimeMs - fromTimeMs) / 1000 };
    return { measurement: "smile_gap", tags: { plant: this.#plant, gateway, reason }, fields, timeMs: toTimeMs };
  }

  #tags(machine: string, headId: string, output: number): Readonly<Record<string, string>> {
    const head = this.#heads.get(headId);
    return {
      plant: this.#plant,
      machine,
      head: head?.name ?? headId,
      headId: headId.slice(0, shortIdLength),
      output: head?.outputs[output] ?? String(output),
    };
  }
}
