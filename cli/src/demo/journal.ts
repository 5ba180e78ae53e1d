import type { LiftedWindow } from "@smile/features/spec";
import { integerScores, type QuantisedHead } from "@smile/model-service/training/quantise-head";
import type { StoredRisk } from "@smile/plant-console/store";
import type { MessageId } from "@smile/schemas/envelopes";

/** A window as its gateway knows it. */
export type KnownWindow = { readonly window: LiftedWindow; readonly frameId: MessageId; readonly lane: number; readonly block: number };

/**
 * Keeps the books of a run, on the plant's side: every window that a gateway made durable against every risk that the console
 * stored. A mismatch is a risk of another machine or time, or a decrypted score that is not the integer head on the same features, up to
 * the step of the deployment's replies.
 */
export class Journal {
  readonly #head: QuantisedHead;
  readonly #step: number;
  readonly #expected = new Map<string, KnownWindow>();
  readonly #seen = new Set<string>();
  #news = Promise.withResolvers<void>();
  readonly risks: StoredRisk[] = [];
  windows = 0;
  duplicated = 0;
  mismatches = 0;
  firstRiskMs: number | undefined;
  /** The first window with its risk, to show what the plant sees of it. */
  example: { readonly known: KnownWindow; readonly risk: StoredRisk } | undefined;

  /** @param step of the deployment's replies; scores are multiples of it less than a step from the exact ones, so 1 means exact */
  constructor(head: QuantisedHead, step: number) {
    this.#head = head;
    this.#step = step;
  }

  /** Windows without a risk yet; at the end of a run, those that are lost. */
  get outstanding(): number {
    return this.#expected.size;
  }

  /** Resolves once no more than `limit` windows wait for their risk. */
  async atMost(limit: number): Promise<void> {
    while (this.outstanding > limit) await this.#news.promise;
  }

  window(known: KnownWindow): void {
    this.windows += 1;
    this.#expected.set(idOf(known.frameId, known.block, known.lane), known);
  }

  risk(risk: StoredRisk): void {
    this.firstRiskMs ??= performance.now();
    const id = idOf(risk, risk.block, risk.lane);
    if (this.#seen.has(id)) {
      this.duplicated += 1;
      return;
    }
    this.#seen.add(id);
    this.risks.push(risk);
    const known = this.#expected.get(id);
    this.#expected.delete(id);
    this.#news.resolve();
    this.#news = Promise.withResolvers();
    const score = known && integerScores(this.#head, known.window.features)[0];
    const isRight = score !== undefined && Math.abs(score - risk.score) < this.#step;
    if (!known || known.window.machine !== risk.machine || known.window.endMs !== risk.frameTimeMs || !isRight) {
      this.mismatches += 1;
      return;
    }
    this.example ??= { known, risk };
  }
}

function idOf({ gateway, epoch, sequence }: MessageId, block: number, lane: number): string {
  return `${gateway} ${epoch} ${sequence} ${block} ${lane}`;
}
