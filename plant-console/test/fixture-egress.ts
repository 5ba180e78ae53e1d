import { Egress } from "@smile/runtime/egress";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { type Broker, type BrokerOptions, startBroker } from "@smile/runtime/mqtt-broker";
import { type CursorMessage, parseCursor } from "@smile/schemas/cursor";
import { WORK_TOPICS, type WorkKind } from "@smile/schemas/topics";
import { PLANT } from "./fixture-plant.ts";

/** The service's delivery side as it runs in production: an embedded log, egress and its broker. */
export type FixtureEgress = AsyncDisposable & {
  readonly url: string;
  /** Cursors heard, in order. */
  readonly cursors: readonly CursorMessage[];
  /** Resolves when the console has said that it stored everything below an offset. */
  storedUpTo(offset: number): Promise<void>;
  append(scores: readonly Uint8Array[], plant?: string): Promise<void>;
  /** Cuts every connection and comes back under the same address. */
  restartBroker(): Promise<void>;
};

/**
 * @param security `tls` of the broker; without it, none
 * @param kind whose scores it delivers
 */
export async function startFixtureEgress(security: Pick<BrokerOptions, "tls"> = {}, kind: WorkKind = "streams"): Promise<FixtureEgress> {
  const topics = WORK_TOPICS[kind];
  const logger = silentLogger();
  await using opened = new AsyncDisposableStack();
  const log = opened.use(await openTemporaryLog({ logger }));
  await log.ensureTopics([{ name: topics.scores, partitions: 1 }]);
  const cursors: CursorMessage[] = [];
  const waiting: { offset: number; resolve: () => void }[] = [];
  let broker: Broker;
  let egress = makeEgress();

  function makeEgress() {
    return new Egress(
      log,
      (topic, payload) => broker.publish(topic, payload),
      (error) => {
        throw error;
      },
      kind,
    );
  }
  const startOn = (port: number) =>
    startBroker({
      port,
      logger,
      ...security,
      authorizePublish: async ({ topic, payload }) => {
        if (topic !== topics.mqtt.cursor(PLANT)) return;
        const cursor = parseCursor(payload);
        cursors.push(cursor);
        for (const each of waiting) if ((cursor.next ?? 0) >= each.offset) each.resolve();
        egress.cursor(PLANT, cursor);
      },
      authorizeSubscribe: async () => true,
    });
  broker = await startOn(0);
  const { port, url } = broker;
  opened.defer(async () => {
    await egress[Symbol.asyncDispose]();
    await broker[Symbol.asyncDispose]();
  });
  const owned = opened.move();
  return {
    url,
    cursors,
    async storedUpTo(offset) {
      if (cursors.some(({ next }) => (next ?? 0) >= offset)) return;
      await new Promise<void>((resolve) => waiting.push({ offset, resolve }));
    },
    async append(scores, plant = PLANT) {
      await log.append(scores.map((value) => ({ topic: topics.scores, key: plant, value })));
    },
    async restartBroker() {
      await egress[Symbol.asyncDispose]();
      await broker[Symbol.asyncDispose]();
      egress = makeEgress();
      broker = await startOn(port);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
