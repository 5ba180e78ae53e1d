import type { Logger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import type { TlsSource } from "@smile/runtime/tls-files";
import { type CursorMessage, encodeCursor } from "@smile/schemas/cursor";
import { WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";

export type LinkHandlers = {
  /** A connection stands and receives: whatever comes from here on comes on it. Called again after each reconnection. */
  readonly onConnected: () => void;
  /** A Delivery envelope. Resolves when there is room for the next one. */
  readonly onDelivery: (payload: Uint8Array) => Promise<void>;
};

/**
 * The console's way to the service: deliveries in, and out nothing but the cursor. No way back: decrypted values, and errors or
 * behaviour that depend on them, never flow from plant to service, since a service that learns which of its replies decrypted to what
 * learns about windows that it must not see, and at worst about the key. So this interface has no other way of sending; whoever adds
 * one must show that what it sends, how often and when, is the same whatever was decrypted (test/no-way-back.test.ts).
 */
export interface ScoreLink extends AsyncDisposable {
  readonly connected: boolean;
  /** Resolves when the broker has the cursor; rejects when the link is disposed before. */
  sendCursor(cursor: CursorMessage): Promise<void>;
}
export type OpenScoreLink = (handlers: LinkHandlers) => ScoreLink;

/**
 * A link over MQTT. The session is a clean one: what was on its way when a connection broke is asked for again.
 * @param options.kind whose scores come, default `streams`; each kind has a cursor of its own
 */
export function mqttScoreLink(options: {
  url: string;
  plant: string;
  kind?: WorkKind;
  clientId?: string | undefined;
  logger: Logger;
  tls?: TlsSource | undefined;
  withoutTls?: string | undefined;
}): OpenScoreLink {
  const { url, plant, kind = "streams", logger, tls, withoutTls } = options;
  const topics = WORK_TOPICS[kind].mqtt;
  return ({ onConnected, onDelivery }) => {
    const connection = openMqtt({
      url,
      clientId: options.clientId ?? `${plant}-console${kind === "jobs" ? "-jobs" : ""}`,
      logger,
      ...(tls && { tls }),
      ...(withoutTls !== undefined && { withoutTls }),
      subscribe: { filters: [topics.scores(plant)], handle: (_, payload) => onDelivery(payload) },
      onReady: onConnected,
    });
    return {
      get connected() {
        return connection.connected;
      },
      sendCursor: (cursor) => connection.publish(topics.cursor(plant), encodeCursor(cursor)),
      [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose](),
    };
  };
}
