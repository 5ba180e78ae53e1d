import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { createAuthority } from "@smile/identity/authority";
import { issueClientCertificate } from "@smile/identity/client-certificate";
import type { TlsMaterial } from "@smile/runtime/tls-files";
import { frameCodec } from "@smile/schemas/envelopes";
import { signFrame } from "@smile/schemas/signing";
import { cursorTopic, framesTopic, scoresTopic } from "@smile/schemas/topics";
import { PacketSplitter } from "../faults/mqtt-packets.ts";
import type { Dice } from "../fuzz/mutate.ts";
import { pick, randomBytes } from "./case.ts";
import type { FrameCases } from "./frame-cases.ts";
import { connect, PINGREQ, PUBACK, PUBLISH, packet, publish, SUBSCRIBE, subscribe, text, UNSUBSCRIBE } from "./mqtt-bytes.ts";
import type { World } from "./world.ts";

const HOST = "127.0.0.1";
/** Twice what a broker gives the slowest packet. */
const PATIENCE_MS = 60_000;
const YEAR = { days: 365 };
/** An honest gateway that was thrown out is back by then. */
const RECONNECTS_WITHIN_MS = 200;

/** What became of a case: how the broker answered. "ACCEPTED" and "unanswered" are what must not be. */
export type MqttOutcome = "closed" | "refused" | "ignored" | "ACCEPTED" | "unanswered";

/** A hostile client's whole life. Slow ones take their time beside the others. */
export type MqttKind = { readonly isSlow?: boolean; readonly run: (dice: Dice) => Promise<MqttOutcome> };

/** CONNACK, SUBACK, PINGRESP. */
const ANSWERS = { connack: 2, publish: 3, suback: 9, pingresp: 13 } as const;

/** A connection and all that came on it. */
class Client {
  readonly socket: Socket;
  readonly #splitter = new PacketSplitter();
  readonly #waiting = new Set<() => void>();
  readonly packets: { readonly type: number; readonly bytes: Buffer }[] = [];
  isClosed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      this.packets.push(...this.#splitter.push(chunk));
      this.#wake();
    });
    socket.on("close", () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  write(...bytes: readonly Uint8Array[]): void {
    for (const each of bytes) if (!this.isClosed) this.socket.write(each);
  }

  /** Waits until an answer of this type has come, or the end. @returns undefined where it ended, or nothing came in time */
  async answer(type: number): Promise<Buffer | undefined> {
    for (const untilMs = performance.now() + PATIENCE_MS; performance.now() < untilMs; ) {
      const found = this.packets.find((each) => each.type === type);
      if (found !== undefined) return found.bytes;
      if (this.isClosed) return undefined;
      await this.#event(untilMs);
    }
    return undefined;
  }

  async closed(): Promise<MqttOutcome> {
    for (const untilMs = performance.now() + PATIENCE_MS; !this.isClosed && performance.now() < untilMs; ) await this.#event(untilMs);
    return this.isClosed ? "closed" : "unanswered";
  }

  /**
   * What the broker made of what was written, told by its answer to a ping behind it.
   * @param isAsked whether a subscription was asked for: its answer may come later than that to the ping
   */
  async verdict(isAsked = false): Promise<MqttOutcome> {
    this.write(PINGREQ);
    if (isAsked) await this.answer(ANSWERS.suback);
    const pong = await this.answer(ANSWERS.pingresp);
    const granted = this.packets.filter(({ type, bytes }) => type === ANSWERS.suback && codesOf(bytes).some((code) => code < 0x80));
    if (granted.length > 0 || this.packets.some(({ type }) => type === ANSWERS.publish)) return "ACCEPTED";
    if (pong === undefined) return this.isClosed ? "closed" : "unanswered";
    return this.packets.some(({ type }) => type === ANSWERS.suback) ? "refused" : "ignored";
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  async #event(untilMs: number): Promise<void> {
    const stop = new AbortController();
    const late = delay(untilMs - performance.now(), undefined, { signal: stop.signal }).catch(() => {});
    await Promise.race([new Promise<void>((resolve) => this.#waiting.add(resolve)), late]);
    stop.abort();
  }
}

/** Of a SUBACK: one for each filter, behind the header and the packet id. */
function codesOf(suback: Buffer): Uint8Array {
  const lengthBytes = suback.subarray(1).findIndex((byte) => byte < 0x80) + 1;
  return suback.subarray(1 + lengthBytes + 2);
}

type BrokerName = "frames" | "scores";

/** Certificates that must not get anybody in. */
async function strangers({ parties, brokerCertificate }: World): Promise<readonly (TlsMaterial | undefined)[]> {
  const [north, south] = parties;
  const gateway = { plant: north.plant, role: "gateway", name: north.gateways[0]!.name } as const;
  const own = await createAuthority({ name: "a stranger", ...YEAR });
  const namesake = await createAuthority({ name: `${north.plant} authority`, ...YEAR });
  const long = { days: 1, nowMs: Date.now() - 10 * 86_400_000 };
  return [
    undefined,
    own,
    await issueClientCertificate(own, { ...gateway, ...YEAR }),
    await issueClientCertificate(namesake, { ...gateway, ...YEAR }),
    // By the plant's own authority, but in no register; of another plant; ended; and one that was revoked.
    await issueClientCertificate(north.authority, { ...gateway, ...YEAR }),
    await issueClientCertificate(north.authority, { ...gateway, plant: south.plant, ...YEAR }),
    await issueClientCertificate(north.authority, { ...gateway, plant: "nowhere", ...YEAR }),
    await issueClientCertificate(north.authority, { ...gateway, ...long }),
    north.gateways[0]!.revoked.tls,
    south.authority,
    brokerCertificate,
  ];
}

/** Hostile clients of the two brokers, by kind. */
export async function mqttKinds(world: World, frames: FrameCases): Promise<Readonly<Record<string, MqttKind>>> {
  const [north, south] = world.parties;
  const { authority } = north.console;
  const outside = await strangers(world);
  const anyBroker = (dice: Dice): BrokerName => pick(["frames", "scores"], dice);

  const plain = async (broker: BrokerName): Promise<Client> => {
    const socket = createConnection({ host: HOST, port: world.ports[broker] });
    const client = new Client(socket);
    await once(socket, "connect");
    return client;
  };
  const secured = async (broker: BrokerName, material: TlsMaterial | undefined): Promise<Client> => {
    const { certificate: cert, key } = material ?? {};
    const socket = connectTls({ host: HOST, port: world.ports[broker], cert, key, ca: authority });
    const client = new Client(socket);
    await Promise.race([once(socket, "secureConnect"), once(socket, "close")]).catch(() => {});
    return client;
  };
  /** A gateway that is let in. */
  const inside = async (broker: BrokerName, dice: Dice, clientId = `hostile-${dice(1e6)}`, material?: TlsMaterial): Promise<Client> => {
    const { gateway } = frames.place(dice);
    const client = await secured(broker, material ?? gateway.tls);
    client.write(connect(clientId));
    await client.answer(ANSWERS.connack);
    return client;
  };
  /** Runs the work and leaves without a word. */
  const leaving = async <T>(client: Client, work: (client: Client) => Promise<T>): Promise<T> => {
    try {
      return await work(client);
    } finally {
      client.socket.destroy();
    }
  };
  const saying = async (client: Client, ...bytes: readonly Uint8Array[]): Promise<MqttOutcome> => {
    return leaving(client, async () => {
      client.write(...bytes);
      return client.verdict(bytes.some((each) => each[0] === SUBSCRIBE));
    });
  };
  /** A frame that would be taken if it came as it should. */
  const goodFrame = (dice: Dice) => {
    const place = frames.place(dice);
    const payload = frameCodec.encode(signFrame(frames.good(place, dice), place.gateway.signingKey));
    return { place, payload, topic: framesTopic(place.party.plant, place.gateway.name) };
  };
  const forged = (dice: Dice) => {
    const place = frames.place(dice);
    const payload = frameCodec.encode({ ...frames.good(place, dice), signature: randomBytes(64, dice) });
    return { payload, topic: framesTopic(place.party.plant, place.gateway.name) };
  };
  const dribble = (client: Client, bytes: Uint8Array, everyMs: number): Promise<MqttOutcome> =>
    leaving(client, async () => {
      let at = 0;
      const timer = setInterval(() => at < bytes.length && client.write(bytes.subarray(at, ++at)), everyMs);
      try {
        return await client.closed();
      } finally {
        clearInterval(timer);
      }
    });

  return {
    "mqtt oversize": {
      run: async (dice) => {
        const declared = pick([140_000, 1 << 20, 2 ** 28 - 1], dice);
        if (dice(2) === 0) {
          const client = await secured(anyBroker(dice), north.gateways[0]!.tls);
          return leaving(client, async () => {
            client.write(packet(0x10, randomBytes(20, dice), pick([4097, declared], dice)));
            return client.closed();
          });
        }
        return saying(
          await inside(anyBroker(dice), dice),
          packet(pick([PUBLISH, SUBSCRIBE, PUBACK, 0x10], dice), randomBytes(50, dice), declared),
        );
      },
    },
    "mqtt malformed length": {
      run: async (dice) => {
        const bytes = Buffer.of(pick([PUBLISH, SUBSCRIBE, 0xc0], dice), 0xff, 0xff, 0xff, 0xff, 1 + dice(127));
        return saying(await inside(anyBroker(dice), dice), bytes);
      },
    },
    "mqtt not CONNECT first": {
      run: async (dice) => {
        const client = await secured(anyBroker(dice), north.gateways[0]!.tls);
        const { topic, payload } = goodFrame(dice);
        return leaving(client, async () => {
          client.write(
            pick([publish(topic, payload), subscribe(["#"]), PINGREQ, randomBytes(64, dice), Buffer.from("GET / HTTP/1.1\r\n\r\n")], dice),
          );
          const ended = await Promise.race([client.closed(), client.verdict()]);
          return ended === "ignored" ? "ACCEPTED" : ended;
        });
      },
    },
    "mqtt malformed packet": {
      run: async (dice) => {
        const { topic } = forged(dice);
        const wrong = [
          () => packet(0xf0, randomBytes(10, dice)),
          () => packet(0x00, randomBytes(2, dice)),
          () => packet(0x80, randomBytes(10, dice)),
          () => packet(SUBSCRIBE, Buffer.of(0, 1)),
          () => packet(SUBSCRIBE, Buffer.concat([Buffer.of(0, 1), text("#"), Buffer.of(0xff)])),
          () => packet(PUBLISH | 6, Buffer.concat([text(topic), randomBytes(20, dice)])),
          () => packet(PUBLISH | 2, Buffer.concat([text(topic), Buffer.of(0, 0)])),
          () => packet(PUBLISH, Buffer.of(0xff, 0xff, 1, 2)),
          () => packet(PUBLISH, randomBytes(1 + dice(200), dice)),
          () => packet(pick([SUBSCRIBE, UNSUBSCRIBE, PUBACK, 0x20, 0x50, 0x62, 0x70, 0xb0, 0xd0], dice), randomBytes(dice(100), dice)),
          () => connect("again"),
          () => packet(0xe5, new Uint8Array(0)),
          () => Buffer.concat(Array.from({ length: 500 }, () => PINGREQ)),
          () => Buffer.concat(Array.from({ length: 500 }, (_, i) => packet(PUBACK, Buffer.of(i >> 8, i & 255)))),
        ];
        return saying(await inside(anyBroker(dice), dice), pick(wrong, dice)());
      },
    },
    "mqtt CONNECT of its own kind": {
      run: async (dice) => {
        const client = await secured(anyBroker(dice), north.gateways[0]!.tls);
        const wrong = [
          connect("x", { level: 5 }),
          connect("x", { level: 255 }),
          connect("x", { name: "QTTM" }),
          connect("x", { name: "MQIsdp", level: 3 }),
          connect("\0"),
          connect("x".repeat(4000)),
          packet(0x10, randomBytes(1 + dice(100), dice)),
          packet(0x10, Buffer.concat([text("MQTT"), Buffer.of(4, 0xff, 0, 60), text("x"), text("w"), text("p"), text("u"), text("s")])),
          packet(0x10, Buffer.concat([text("MQTT"), Buffer.of(4, 2, 0, 0), Buffer.of(0xff, 0xff)])),
        ];
        return saying(client, pick(wrong, dice));
      },
    },
    "mqtt QoS 2": {
      run: async (dice) => {
        const { place, topic, payload } = goodFrame(dice);
        const client = await inside("frames", dice, undefined, place.gateway.tls);
        return saying(client, publish(topic, payload, { qos: 2 }), packet(0x62, Buffer.of(0, 7)));
      },
    },
    "mqtt will": {
      run: async (dice) => {
        const { place, topic, payload } = goodFrame(dice);
        const client = await secured("frames", place.gateway.tls);
        return leaving(client, async () => {
          // A CONNECT as large as a frame is refused at once; a will of a small payload is taken and must lead to nothing.
          const will = pick([payload, payload.subarray(0, 500)], dice);
          client.write(
            connect(`will-${dice(1e6)}`, { will: { topic: pick([topic, cursorTopic("north")], dice), payload: will, qos: dice(3) } }),
          );
          return client.verdict();
        });
      },
    },
    "mqtt retained": {
      run: async (dice) => {
        const { topic, payload } = forged(dice);
        return saying(await inside("frames", dice), publish(topic, payload, { retain: true }), subscribe([topic]));
      },
    },
    "mqtt subscription": {
      run: async (dice) => {
        const { party } = frames.place(dice);
        const filters = [
          "#",
          "+/+/+/+/frames",
          "smile/v1/+/scores",
          scoresTopic(party.plant),
          "$SYS/#",
          "$taken",
          framesTopic(party.plant, "a1"),
          "",
          "a/#/b",
          "smile/#",
        ];
        const some = pick([() => [pick(filters, dice)], () => filters, () => Array.from({ length: 400 }, (_, i) => `a/${i}`)], dice)();
        return saying(await inside(anyBroker(dice), dice), subscribe(some));
      },
    },
    "mqtt subscription of another plant": {
      run: async (dice) => {
        const filter = pick(
          [scoresTopic(north.plant), "smile/v1/+/scores", `${scoresTopic(north.plant)}/#`, cursorTopic(south.plant)],
          dice,
        );
        return saying(await inside("scores", dice, undefined, south.console), subscribe([filter]));
      },
    },
    "mqtt other topic": {
      run: async (dice) => {
        const { payload, topic } = forged(dice);
        const topics = [
          "$SYS/broker",
          "$taken",
          scoresTopic(north.plant),
          topic.replace("v1", "+"),
          topic.replace("frames", "#"),
          "",
          "a\0b",
          `${topic}/x`,
          topic.slice(1),
          "x".repeat(60_000),
          "/".repeat(1000),
          "__proto__",
          "smile/v1/__proto__/constructor/frames",
        ];
        const client = await inside(anyBroker(dice), dice);
        return saying(
          client,
          publish(dice(10) === 0 ? Uint8Array.of(0xc3, 0x28, 0xff) : pick(topics, dice), payload.subarray(0, 2000), { qos: dice(2) }),
        );
      },
    },
    "mqtt client id of another": {
      run: async (dice) => {
        const victims = frames.twins.filter(({ party }) => party === north);
        const connections = () => victims.reduce((sum, twin) => sum + twin.connections, 0);
        const before = connections();
        const taken = ["a1-agent", "a2-agent", "north-console", "north/gateway/a1/a1-agent", "north/console/desk/north-console"];
        const outcome = await saying(await inside(anyBroker(dice), dice, pick(taken, dice), south.gateways[0]!.tls));
        await delay(RECONNECTS_WITHIN_MS);
        return connections() > before ? "ACCEPTED" : outcome;
      },
    },
    "mqtt cursor": {
      run: async (dice) => {
        const skips = JSON.stringify({ topicId: null, partition: null, next: 2 ** 52, resume: true });
        const nonsense = [
          "{",
          "[]",
          "null",
          "[".repeat(5000),
          '{"next":-1}',
          JSON.stringify({ topicId: "x".repeat(65), partition: 0, next: 0, resume: true }),
          '{"__proto__":{"next":9}}',
          "9".repeat(9000),
        ];
        const [material, topic, payload] = pick(
          [
            // Of another plant's console, and of a gateway; and nonsense of the plant's own console.
            [south.console, cursorTopic(north.plant), skips],
            [north.gateways[0]!.tls, cursorTopic(north.plant), skips],
            [south.console, cursorTopic(north.plant), skips],
            [north.console, cursorTopic(north.plant), pick(nonsense, dice)],
            [north.console, scoresTopic(north.plant), skips],
            [north.console, `${cursorTopic(north.plant)}/x`, skips],
          ] as const,
          dice,
        );
        return saying(await inside("scores", dice, undefined, material), publish(topic, Buffer.from(payload)));
      },
    },
    "mqtt flood": {
      run: async (dice) => {
        const broker = anyBroker(dice);
        const { gateway } = frames.place(dice);
        const clients = await Promise.all(Array.from({ length: 8 }, () => (dice(3) === 0 ? plain(broker) : secured(broker, gateway.tls))));
        for (const client of clients) client.write(connect(`flood-${dice(1e9)}`));
        const last = await Promise.all(clients.map((client) => Promise.race([client.answer(ANSWERS.connack), client.closed()])));
        for (const { socket } of clients) socket.destroy();
        return last.includes("unanswered") ? "unanswered" : "ignored";
      },
    },
    "TLS plain bytes": {
      run: async (dice) => {
        const client = await plain(anyBroker(dice));
        const bytes = [
          connect("plain"),
          Buffer.from("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
          randomBytes(500, dice),
          Buffer.of(0x16, 3, 1, 0xff, 0xff),
          Buffer.alloc(100_000, 0x16),
        ];
        return leaving(client, async () => {
          client.write(pick(bytes, dice));
          client.socket.end();
          return client.closed();
        });
      },
    },
    "TLS certificate": {
      run: async (dice) => {
        const client = await secured(anyBroker(dice), pick(outside, dice));
        return leaving(client, async () => {
          client.write(connect("stranger"));
          const answer = await client.answer(ANSWERS.connack);
          return answer === undefined ? client.closed() : "ACCEPTED";
        });
      },
    },
    "slow half-open": {
      isSlow: true,
      run: async (dice) => {
        const broker = anyBroker(dice);
        const client = dice(2) === 0 ? await plain(broker) : await secured(broker, frames.place(dice).gateway.tls);
        return leaving(client, () => client.closed());
      },
    },
    "slow CONNECT": {
      isSlow: true,
      run: async (dice) => dribble(await secured(anyBroker(dice), frames.place(dice).gateway.tls), connect("slow".repeat(30)), 900),
    },
    "slow PUBLISH": {
      isSlow: true,
      run: async (dice) => {
        const { place, topic, payload } = goodFrame(dice);
        return dribble(await inside("frames", dice, undefined, place.gateway.tls), publish(topic, payload), 900);
      },
    },
    "slow handshake": {
      isSlow: true,
      run: async (dice) => {
        const hello = Buffer.concat([Buffer.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3), randomBytes(500, dice)]);
        return dribble(await plain(anyBroker(dice)), hello, 900);
      },
    },
  };
}
