import type { Cluster } from "kafkajs";
import { expect, test } from "vitest";
import { slotName } from "../src/held-partitions.ts";
import { KafkaProducer } from "../src/kafka-producer.ts";

type Exchange = { readonly response: { parse(decoded: unknown): Promise<unknown> } };

/** Brokers that answer when they are told to; partition p of any topic is led by broker p modulo 2. */
function open() {
  const requests: { readonly nodeId: string; readonly answer: (codes: Record<string, number>) => void }[] = [];
  let refreshed = 0;
  const cluster = {
    connect: async () => {},
    disconnect: async () => {},
    addMultipleTargetTopics: async () => {},
    refreshMetadataIfNecessary: async () => {},
    refreshMetadata: async () => void refreshed++,
    findLeaderForPartitions: (_: string, [partition]: [number]) => ({ [partition % 2]: [partition] }),
    findBroker: async ({ nodeId }: { nodeId: string }) => ({
      connectionPool: {
        send: ({ response }: Exchange) =>
          new Promise((resolve, reject) => {
            const answer = (codes: Record<string, number>) => {
              const topics = Object.entries(codes).map(([name, errorCode], i) => {
                const [topicName, partition] = name.split("/");
                return { topicName, partitions: [{ partition: Number(partition), errorCode, baseOffset: `${100 + i}` }] };
              });
              response.parse({ topics }).then(resolve, reject);
            };
            requests.push({ nodeId, answer });
          }),
      },
    }),
  };
  const producer = new KafkaProducer(cluster as unknown as Cluster, 1000);
  const append = (topic: string, partition: number) =>
    producer.append({ topic, partition, records: [{ key: "k", value: new Uint8Array(3) }] });
  return { requests, append, producer, refreshed: () => refreshed };
}

const asked = async (at: ReturnType<typeof open>, count: number) => {
  while (at.requests.length < count) await new Promise(setImmediate);
};

test("what comes for one broker while a request is under way goes together in the next; another broker is asked at once", async () => {
  const at = open();
  const first = at.append("a", 0);
  await asked(at, 1);
  const later = [at.append("a", 2), at.append("b", 0)];
  const other = at.append("a", 1);
  await asked(at, 2);
  expect(at.requests.map(({ nodeId }) => nodeId)).toEqual(["0", "1"]);
  at.requests[1]!.answer({ "a/1": 0 });
  expect(await other).toBe(100);
  at.requests[0]!.answer({ "a/0": 0 });
  expect(await first).toBe(100);
  await asked(at, 3);
  at.requests[2]!.answer({ "a/2": 0, "b/0": 0 });
  expect(await Promise.all(later)).toEqual([100, 101]);
  expect(at.requests).toHaveLength(3);
});

test("each batch of a request has its own fate, and after a refusal leaders are looked up anew", async () => {
  const at = open();
  const notLeader = 6;
  const batches = [at.append("a", 0), at.append("b", 0), at.append("c", 0)];
  await asked(at, 1);
  at.requests[0]!.answer({ "a/0": 0, [slotName({ topic: "b", partition: 0 })]: notLeader });
  const [a, b, c] = await Promise.allSettled(batches);
  expect(a).toEqual({ status: "fulfilled", value: 100 });
  expect(b).toMatchObject({ status: "rejected", reason: { type: "NOT_LEADER_FOR_PARTITION" } });
  expect(c).toMatchObject({ status: "rejected", reason: { type: "UNKNOWN_TOPIC_OR_PARTITION" } }); // left out of the answer
  expect(at.refreshed()).toBe(1);
});

test("a turn comes once the request under way is answered", async () => {
  const at = open();
  const first = at.append("a", 0);
  await asked(at, 1);
  let came = false;
  const turn = at.producer.turn({ topic: "a", partition: 0 }).then(() => {
    came = true;
  });
  for (let i = 0; i < 5; i++) await new Promise(setImmediate);
  expect(came).toBe(false);
  at.requests[0]!.answer({ "a/0": 0 });
  await Promise.all([first, turn]);
});
