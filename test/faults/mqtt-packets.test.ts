import fc from "fast-check";
import { generate } from "mqtt-packet";
import { expect, it } from "vitest";
import {
  acknowledgedId,
  CONNECT,
  clientIdOf,
  encodePublish,
  PacketSplitter,
  PUBACK,
  PUBLISH,
  type RawPacket,
  readPublish,
} from "./mqtt-packets.ts";

const topic = fc.stringMatching(/^[a-z/]{1,200}$/);
const packetId = fc.integer({ min: 1, max: 0xffff });
const payload = fc.uint8Array({ maxLength: 40_000 });

it("cuts a stream into its packets, whatever the chunks, and reads what mqtt-packet wrote", () => {
  const message = fc.record({ topic, packetId, payload });
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 50_000 }), (messages, chunk) => {
      const stream = Buffer.concat(
        messages.flatMap(({ topic, packetId, payload }) => [
          generate({ cmd: "publish", topic, messageId: packetId, payload: Buffer.from(payload), qos: 1, dup: false, retain: false }),
          generate({ cmd: "puback", messageId: packetId }),
        ]),
      );
      const splitter = new PacketSplitter();
      const packets: RawPacket[] = [];
      for (let at = 0; at < stream.length; at += chunk) packets.push(...splitter.push(stream.subarray(at, at + chunk)));
      expect(packets.map(({ type }) => type)).toEqual(messages.flatMap(() => [PUBLISH, PUBACK]));
      expect(Buffer.concat(packets.map(({ bytes }) => bytes)).equals(stream)).toBe(true);
      messages.forEach(({ topic, packetId, payload }, i) => {
        const read = readPublish(packets[2 * i]!);
        expect(read).toMatchObject({ topic, packetId });
        expect(read.payload.equals(payload)).toBe(true);
        expect(acknowledgedId(packets[2 * i + 1]!)).toBe(packetId);
      });
    }),
    { seed: 1, numRuns: 30 },
  );
});

it("writes a QoS 0 message that it reads again, and knows a client by its CONNECT", () => {
  fc.assert(
    fc.property(topic, payload, (topic, payload) => {
      const [packet] = new PacketSplitter().push(encodePublish(topic, payload));
      const read = readPublish(packet!);
      expect(read).toMatchObject({ topic, packetId: undefined });
      expect(read.payload.equals(payload)).toBe(true);
    }),
    { seed: 2, numRuns: 30 },
  );
  const connect = generate({
    cmd: "connect",
    clientId: "smile-edge-plant-1-hall-1",
    protocolId: "MQTT",
    protocolVersion: 4,
    clean: true,
    keepalive: 60,
  });
  const [packet] = new PacketSplitter().push(connect);
  expect(packet!.type).toBe(CONNECT);
  expect(clientIdOf(packet!)).toBe("smile-edge-plant-1-hall-1");
});
