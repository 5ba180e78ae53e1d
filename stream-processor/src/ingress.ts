import { isPipelineError, type PipelineError } from "@smile/errors/pipeline-error";
import type { Log } from "@smile/runtime/log";
import type { Logger } from "@smile/runtime/logging";
import { encodeDeadLetter } from "@smile/schemas/dead-letter";
import { gapCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS, NAME } from "@smile/schemas/topics";
import { admitFrame, admitGap } from "./admission.ts";
import type { Catalogue } from "./catalogue.ts";

/** What ingress has done since it started: frames taken and their bytes, gaps taken. `refused` counts by error code. */
export type IngressCounters = { accepted: number; bytes: number; gaps: number; readonly refused: Record<string, number> };

/**
 * Takes frames, and the gaps between them, off MQTT into the log. `receive` resolves, and only then is the message acknowledged,
 * when it is durable in the log, or when its refusal is durable on the dead-letter topic: sending refused bytes again would change
 * nothing. It rejects when the log cannot take either; then nothing is acknowledged and the gateway sends again.
 */
export class Ingress {
  readonly counters: IngressCounters = { accepted: 0, bytes: 0, gaps: 0, refused: {} };
  readonly #log: Log;
  readonly #catalogue: Catalogue;
  readonly #logger: Logger;

  constructor(log: Log, catalogue: Catalogue, logger: Logger) {
    this.#log = log;
    this.#catalogue = catalogue;
    this.#logger = logger;
  }

  async receive(topic: string, payload: Uint8Array): Promise<void> {
    const gap = gapCodec.claims(payload); // both come on a gateway's one topic
    let plant: string;
    try {
      plant = gap ? admitGap(topic, payload).plant : admitFrame(topic, payload, this.#catalogue).plant;
    } catch (error) {
      if (!isPipelineError(error)) throw error;
      await this.#refuse(topic, payload, error);
      return;
    }
    // There is nothing to merge or to score in a gap: it goes to the plant among its scores.
    await this.#log.append([{ topic: gap ? LOG_TOPICS.scores : LOG_TOPICS.frames, key: plant, value: payload }]);
    if (gap) {
      this.counters.gaps += 1;
      return;
    }
    this.counters.accepted += 1;
    this.counters.bytes += payload.length;
  }

  async #refuse(topic: string, payload: Uint8Array, error: PipelineError): Promise<void> {
    const [, , plant = "", gateway = ""] = topic.split("/");
    const sender = NAME.test(plant) && NAME.test(gateway) ? { plant, gateway } : { plant: "unknown", gateway: "unknown" };
    const letter = encodeDeadLetter(error, sender, payload, Date.now());
    await this.#log.append([{ topic: LOG_TOPICS.deadLetters, key: sender.plant, value: letter }]);
    this.counters.refused[error.code] = (this.counters.refused[error.code] ?? 0) + 1;
    this.#logger.warn({ ...sender, code: error.code, facts: error.facts }, "refused a frame");
  }
}
