import type { MqttConnection } from "./mqtt-client.ts";

export interface Sender {
  /** Messages that are not acknowledged yet. Never more than the window. */
  readonly inFlight: number;
  /** Resolves when there is room to send; rejects with the signal's reason when it is aborted. Await it before making the next message. */
  room(signal?: AbortSignal): Promise<void>;
  /** Sends when there is room, in the order of the calls. Resolves on PUBACK; rejects as `MqttConnection.publish` does. */
  send(payload: Uint8Array): Promise<void>;
}

/**
 * Sends to one topic with at most `window` messages in flight: mqtt.js itself would take any number into memory.
 * A loop of `await sender.room(); sender.send(next)` holds no more than the window.
 * @param window at least 1
 */
export function createSender(connection: Pick<MqttConnection, "publish">, topic: string, window = 32): Sender {
  let inFlight = 0;
  /** Those who wait for room, in order: senders take it, onlookers only look. */
  const queue: { readonly takes: boolean; readonly go: () => void }[] = [];

  const letIn = () => {
    while (inFlight < window && queue.length > 0) {
      const next = queue.shift()!;
      if (next.takes) inFlight++;
      next.go();
    }
  };
  const turn = (takes: boolean, signal?: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      signal?.throwIfAborted();
      const leave = () => {
        queue.splice(queue.indexOf(waiting), 1);
        reject(signal?.reason);
      };
      const waiting = {
        takes,
        go: () => {
          signal?.removeEventListener("abort", leave);
          resolve();
        },
      };
      signal?.addEventListener("abort", leave, { once: true });
      queue.push(waiting);
      letIn();
    });

  return {
    get inFlight() {
      return inFlight;
    },
    room: (signal) => turn(false, signal),
    send: async (payload) => {
      await turn(true);
      try {
        await connection.publish(topic, payload);
      } finally {
        inFlight--;
        letIn();
      }
    },
  };
}
