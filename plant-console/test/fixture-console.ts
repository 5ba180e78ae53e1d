import { silentLogger } from "@smile/runtime/logging";
import type { CursorMessage } from "@smile/schemas/cursor";
import type { Lease } from "@smile/schemas/documents";
import { deliveryCodec } from "@smile/schemas/envelopes";
import { openDecryptionKeys } from "../src/decryption-keys.ts";
import type { LinkHandlers } from "../src/score-link.ts";
import { type PlantConsoleOptions, startPlantConsole } from "../src/service.ts";
import { type AlertEvent, RiskStore, type StoredRisk } from "../src/store.ts";
import { type FixturePlant, PLANT } from "./fixture-plant.ts";

export const leases: Lease[] = [
  { gateway: "g1", firstLane: 0, machines: ["m0", "m1", "m2"] },
  { gateway: "g2", firstLane: 3, machines: ["m3", "m4"] },
  { gateway: "g2", firstLane: 8, machines: ["m8", "m9"] },
];

/** Deliveries are dealt with in one turn of the event loop, and told of in the next. */
export async function dealtWith() {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** A console on a link in memory: deliveries go in by hand, cursors come out. */
export async function openConsole(plant: FixturePlant, more: Partial<PlantConsoleOptions> = {}) {
  const stack = new AsyncDisposableStack();
  const keys = more.keys ?? stack.use(await openDecryptionKeys(plant.deployment, plant.secretKeys));
  const store = stack.use(new RiskStore({ path: ":memory:", plant: PLANT }));
  const cursors: CursorMessage[] = [];
  const risks: StoredRisk[] = [];
  const alerts: AlertEvent[] = [];
  let handlers: LinkHandlers | undefined;
  const service = stack.use(
    await startPlantConsole({
      plant: PLANT,
      deployment: plant.deployment,
      keys,
      trust: () => plant.trust,
      leases,
      store,
      openLink: (given) => {
        handlers = given;
        return {
          connected: true,
          sendCursor: async (cursor) => {
            cursors.push(cursor);
          },
          [Symbol.asyncDispose]: async () => {},
        };
      },
      logger: silentLogger(),
      now: () => 1_000_000,
      onRisk: (risk) => risks.push(risk),
      onAlert: (event) => alerts.push(event),
      ...more,
    }),
  );
  let next = 0;
  /** From an offset on, one delivery behind the other. */
  const deliverFrom = async (offset: number, ...scores: Uint8Array[]) => {
    for (const [i, score] of scores.entries()) {
      const at = { topicId: "scores", partition: 0, from: offset + i, offset: offset + i, score };
      await handlers!.onDelivery(deliveryCodec.encode(at));
    }
    next = offset + scores.length;
    await dealtWith();
  };
  const deliver = (...scores: Uint8Array[]) => deliverFrom(next, ...scores);
  /** Resolves when no delivery waits any more. */
  const settled = async () => {
    do await dealtWith();
    while (service.waiting() > 0);
    await dealtWith();
  };
  handlers?.onConnected();
  return {
    service,
    store,
    cursors,
    risks,
    alerts,
    deliver,
    deliverFrom,
    settled,
    handlers: handlers!,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
