import type { PipelineError } from "@smile/errors/pipeline-error";
import { DeadLetterBudget } from "@smile/runtime/dead-letter-budget";
import type { Log } from "@smile/runtime/log";
import type { Logger } from "@smile/runtime/logging";
import type { PlantRegistry } from "@smile/runtime/plant-registry";
import { encodeDeadLetter } from "@smile/schemas/dead-letter";
import { LOG_TOPICS, NAME } from "@smile/schemas/topics";
import type { Arrival } from "./admission-checks.ts";

/** Of all together that no registered plant answers for. */
const STRANGERS = { perHour: 60 };
/** Whoever is refused sends more of the same: one line per code in this time says so. */
const LOG_EVERY_MS = 1000;

/** What becomes of refused messages: a dead letter within the sender's budget, a count, a line in the log now and then. */
export class Refusals {
  /** By error code. */
  readonly counts: Record<string, number> = {};
  readonly #log: Log;
  readonly #registry: PlantRegistry;
  readonly #logger: Logger;
  readonly #plants = new DeadLetterBudget();
  readonly #strangers = new DeadLetterBudget(STRANGERS);
  readonly #loggedMs = new Map<string, number>();

  constructor(log: Log, registry: PlantRegistry, logger: Logger) {
    this.#log = log;
    this.#registry = registry;
    this.#logger = logger;
  }

  /** Dead letters that were not kept. */
  get suppressed(): number {
    return this.#plants.suppressed + this.#strangers.suppressed;
  }

  /** Resolves when the dead letter is durable, if one is kept. @throws {PipelineError} LOG_UNAVAILABLE */
  async refuse({ topic, payload, peer }: Arrival, error: PipelineError): Promise<void> {
    const sender = peer === null ? claimedSender(topic) : { plant: peer.plant, gateway: peer.name };
    const nowMs = Date.now();
    const isKept =
      this.#registry.find(sender.plant) === undefined ? this.#strangers.allows("", nowMs) : this.#plants.allows(sender.plant, nowMs);
    if (isKept) {
      const letter = encodeDeadLetter(error, sender, payload, nowMs);
      await this.#log.append([{ topic: LOG_TOPICS.deadLetters, key: sender.plant, value: letter }]);
    }
    const total = (this.counts[error.code] ?? 0) + 1;
    this.counts[error.code] = total;
    if (nowMs - (this.#loggedMs.get(error.code) ?? 0) < LOG_EVERY_MS) return;
    this.#loggedMs.set(error.code, nowMs);
    this.#logger.warn({ ...sender, code: error.code, facts: error.facts, total }, "refused a frame");
  }
}

function claimedSender(topic: string): { readonly plant: string; readonly gateway: string } {
  const [, , plant = "", gateway = ""] = topic.split("/");
  return NAME.test(plant) && NAME.test(gateway) ? { plant, gateway } : { plant: "unknown", gateway: "unknown" };
}
