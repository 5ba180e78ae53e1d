import { Egress } from "@smile/runtime/egress";
import type { Log } from "@smile/runtime/log";
import type { Logger } from "@smile/runtime/logging";
import type { WorkKind } from "@smile/schemas/topics";
import type { OpenScoreLink } from "./score-link.ts";

/**
 * A link for a plant that reads the service's log itself: the very feed that the stream processor runs for plants behind MQTT, run
 * here. Other plants' ciphertexts pass by unread. While the log is away the feed ends and is begun anew by the console's next cursor.
 * @param options.kind whose scores come, default `streams`
 */
export function logScoreLink(options: { log: Log; plant: string; logger: Logger; kind?: WorkKind }): OpenScoreLink {
  const { log, plant, logger, kind = "streams" } = options;
  return ({ onConnected, onDelivery }) => {
    let failed = false;
    const egress = new Egress(
      log,
      (_, payload) => onDelivery(payload),
      (error) => {
        failed = true;
        logger.warn({ err: error }, "the log cannot be read; trying again");
      },
      kind,
    );
    // Not before the caller has the link in its hands.
    setImmediate(onConnected);
    return {
      get connected() {
        return !failed;
      },
      sendCursor: async (cursor) => {
        failed = false;
        egress.cursor(plant, cursor);
      },
      [Symbol.asyncDispose]: () => egress[Symbol.asyncDispose](),
    };
  };
}
