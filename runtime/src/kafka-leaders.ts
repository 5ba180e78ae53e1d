import type { Broker, Cluster } from "kafkajs";
import type { Slot } from "./held-partitions.ts";
import type { metadataRequest } from "./kafka-topic-id.ts";
import type { Encoded } from "./kafkajs-encoder.ts";

/** What kafkajs' brokers send their own requests with, and its types leave out. */
export type BrokerConnection = {
  readonly connectionPool: {
    send<D, T>(exchange: {
      readonly request: Record<keyof typeof metadataRequest, number | string> & {
        encode(): Promise<Encoded>;
      };
      readonly response: { decode(payload: Buffer): Promise<D>; parse(decoded: D): Promise<T> };
    }): Promise<T>;
  };
};

/** Which broker leads which partition, and the connections to them. */
export class KafkaLeaders {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async connect(): Promise<void> {
    await this.#cluster.connect();
  }

  /** Groups partitions by the broker that leads them. */
  async byBroker<T extends Slot>(slots: readonly T[]): Promise<Map<string, T[]>> {
    await this.#cluster.connect();
    await this.#cluster.addMultipleTargetTopics([...new Set(slots.map(({ topic }) => topic))]);
    await this.#cluster.refreshMetadataIfNecessary();
    const byBroker = new Map<string, T[]>();
    for (const slot of slots) {
      for (const broker of Object.keys(this.#cluster.findLeaderForPartitions(slot.topic, [slot.partition]))) {
        byBroker.set(broker, [...(byBroker.get(broker) ?? []), slot]);
      }
    }
    return byBroker;
  }

  /** The broker, connected. */
  broker(nodeId: string): Promise<Broker> {
    return this.#cluster.findBroker({ nodeId });
  }

  /** Asks who leads what now. */
  async refresh(): Promise<void> {
    await this.#cluster.refreshMetadata();
  }

  /** After a failure: forgets a connection that broke, and asks who leads what now. */
  async recover(error: unknown): Promise<void> {
    const { host, port } = error as { host?: string; port?: number };
    if (host !== undefined && port !== undefined) this.#cluster.removeBroker({ host, port });
    await this.#cluster.connect();
    await this.refresh();
  }

  async disconnect(): Promise<void> {
    await this.#cluster.disconnect();
  }
}
