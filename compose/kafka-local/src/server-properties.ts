/** One node that is broker and controller, listening on the loopback interface only. Ports: TCP, 1 to 65535. */
export type ServerSetup = {
  readonly port: number;
  readonly controllerPort: number;
  readonly dataFolder: string;
  /** Clients come with TLS and SCRAM-SHA-512; the broker talks to itself on a port of its own. */
  readonly secure?: { readonly keyStore: string; readonly insidePort: number } | undefined;
};

/** The largest record batch that a broker and its topics take: the same at every place that limits it. */
export const maxMessageBytes = 4 * 1024 * 1024;

/**
 * What server.properties says. Sources: Kafka's broker configuration reference, and config/server.properties of the distribution.
 * Fit for one machine only: each internal topic has one replica, and groups form without waiting for more members.
 */
export function serverProperties({ port, controllerPort, dataFolder, secure }: ServerSetup): string {
  const properties = {
    "process.roles": "broker,controller",
    "node.id": "0",
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    "advertised.listeners": `PLAINTEXT://127.0.0.1:${port}`,
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.quorum.voters": `0@127.0.0.1:${controllerPort}`,
    "log.dirs": dataFolder.replaceAll("\\", "/"),
    "auto.create.topics.enable": "false",
    "message.max.bytes": `${maxMessageBytes}`,
    "group.initial.rebalance.delay.ms": "0",
    // After a kill the controller takes the broker for alive until its session ends, and lets it back in only then: 9 s by default.
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    // The least that the cleaner accepts, instead of 128 MiB of heap.
    "log.cleaner.dedupe.buffer.size": "1048577",
    ...(secure === undefined ? {} : secureProperties(port, controllerPort, secure)),
  };
  return Object.entries(properties)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}

/** Sources: Kafka's documentation, Security, "Encryption and Authentication using SSL" (PEM key stores) and "Authentication using SASL/SCRAM". */
function secureProperties(port: number, controllerPort: number, { keyStore, insidePort }: NonNullable<ServerSetup["secure"]>) {
  return {
    listeners: `SECURE://127.0.0.1:${port},PLAINTEXT://127.0.0.1:${insidePort},CONTROLLER://127.0.0.1:${controllerPort}`,
    "advertised.listeners": `SECURE://127.0.0.1:${port},PLAINTEXT://127.0.0.1:${insidePort}`,
    "listener.security.protocol.map": "SECURE:SASL_SSL,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "listener.name.secure.ssl.keystore.type": "PEM",
    "listener.name.secure.ssl.keystore.location": keyStore.replaceAll("\\", "/"),
    "listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "listener.name.secure.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
  };
}
