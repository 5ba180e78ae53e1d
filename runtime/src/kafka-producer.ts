import { createRequire } from "node:module";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Broker, Cluster } from "kafkajs";
import type { Slot } from "./held-partitions.ts";
import { slotName } from "./held-partitions.ts";
import { type BrokerConnection, KafkaLeaders } from "./kafka-leaders.ts";
import { encodeProduceRequest, headroom, type PartitionRecords, produceRequest } from "./kafka-produce.ts";

/** Bytes of values in one request, of a partition's first batch beyond: brokers refuse requests of 100 MiB (`socket.request.max.bytes`). */
const maxRequestBytes = 16 * 1024 * 1024;

type Waiting = { readonly part: PartitionRecords; readonly resolve: (offset: number) => void; readonly reject: (error: unknown) => void };

/** What goes to one broker. */
type Lane = { waiting: Waiting[]; scheduled: boolean; underWay: Promise<void> | undefined };

/**
 * Kafka's Produce requests: one under way per broker, and what comes for any of its partitions meanwhile together in the next one: a
 * request costs both sides more than a record does. kafkajs sends one per partition and call.
 */
export class KafkaProducer {
  readonly #leaders: KafkaLeaders;
  readonly #timeoutMs: number;
  readonly #lanes = new Map<string, Lane>();
  /** The lane in which a partition's records went last. */
  readonly #laneOf = new Map<string, Lane>();

  /** @param timeoutMs what a broker may take to hear from all replicas in sync */
  constructor(cluster: Cluster, timeoutMs: number) {
    this.#leaders = new KafkaLeaders(cluster);
    this.#timeoutMs = timeoutMs;
  }

  async connect(): Promise<void> {
    await this.#leaders.connect();
  }

  async disconnect(): Promise<void> {
    await this.#leaders.disconnect();
  }

  /** Resolves when records of the partition would go at once: what gathers until then shares a batch. */
  async turn(slot: Slot): Promise<void> {
    await nextTurn();
    await this.#laneOf.get(slotName(slot))?.underWay;
  }

  /**
   * One record batch. Its order among others of the same partition is kept by whoever waits for each.
   * @returns the offset of its first record, once all replicas in sync have it
   * @throws an error of kafkajs; the batch may be in the log all the same
   */
  async append(part: PartitionRecords): Promise<number> {
    const [leader] = (await this.#leaders.byBroker([part])).keys();
    if (leader === undefined) throw protocolError(LEADER_NOT_AVAILABLE);
    let lane = this.#lanes.get(leader);
    if (lane === undefined) {
      lane = { waiting: [], scheduled: false, underWay: undefined };
      this.#lanes.set(leader, lane);
    }
    this.#laneOf.set(slotName(part), lane);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    lane.waiting.push({ part, resolve, reject });
    if (!lane.scheduled) void this.#sendAll(leader, lane);
    return promise;
  }

  async #sendAll(leader: string, lane: Lane): Promise<void> {
    lane.scheduled = true;
    while (lane.waiting.length > 0) {
      // Others that waited for the same answer are about to append, too.
      await nextTurn();
      lane.underWay = this.#send(leader, lane.waiting.splice(0, fitting(lane.waiting)));
      await lane.underWay;
      lane.underWay = undefined;
    }
    lane.scheduled = false;
  }

  /** Never rejects: each batch has its own fate. */
  async #send(leader: string, batches: readonly Waiting[]): Promise<void> {
    try {
      const broker = await this.#leaders.broker(leader);
      const body = encodeProduceRequest(
        batches.map(({ part }) => part),
        this.#timeoutMs,
        Date.now(),
      );
      const answers = await produce(broker, body);
      for (const { part, resolve, reject } of batches) {
        const answer = answers.get(slotName(part));
        if (answer?.errorCode === 0) resolve(Number(answer.baseOffset));
        else reject(protocolError(answer?.errorCode ?? UNKNOWN_TOPIC_OR_PARTITION));
      }
      if ([...answers.values()].some(({ errorCode }) => errorCode !== 0)) await this.#leaders.refresh();
    } catch (error) {
      for (const { reject } of batches) reject(error);
      await this.#leaders.recover(error).catch(() => {}); // whoever appends again finds out
    }
  }
}

/** How many of those that wait make the next request: at least one. */
function fitting(waiting: readonly Waiting[]): number {
  let bytes = 0;
  let count = 0;
  for (const { part } of waiting) {
    bytes += part.records.reduce((sum, { value }) => sum + value.length, 0);
    if (count > 0 && bytes > maxRequestBytes) break;
    count++;
  }
  return count;
}

type Answer = { readonly partition: number; readonly errorCode: number; readonly baseOffset: string };
type Answers = {
  readonly clientSideThrottleTime: number;
  readonly topics: readonly { readonly topicName: string; readonly partitions: readonly Answer[] }[];
};

const load = createRequire(import.meta.url);
const { decode } = load("kafkajs/src/protocol/requests/produce/v7/response") as { decode(payload: Buffer): Promise<Answers> };
const { createErrorFromCode: protocolError } = load("kafkajs/src/protocol/error") as { createErrorFromCode(code: number): Error };

/** Of Kafka's error codes. */
const UNKNOWN_TOPIC_OR_PARTITION = 3;
const LEADER_NOT_AVAILABLE = 5;

/** @returns what became of each partition's records */
function produce(broker: Broker, body: Buffer): Promise<ReadonlyMap<string, Answer>> {
  return (broker as Broker & BrokerConnection).connectionPool.send<Answers, ReadonlyMap<string, Answer>>({
    request: { ...produceRequest, encode: async () => ({ buf: body, buffer: body, room: headroom }) },
    response: {
      decode,
      parse: async ({ topics }) =>
        new Map(
          topics.flatMap(({ topicName: topic, partitions }) =>
            partitions.map((each) => [slotName({ topic, partition: each.partition }), each] as const),
          ),
        ),
    },
  });
}
