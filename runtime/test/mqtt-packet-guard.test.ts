import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allowanceAfter } from "../src/mqtt-intake.ts";
import { type Offence, PacketGuard } from "../src/mqtt-packet-guard.ts";

const limits = { maxPacketBytes: 300, maxConnectBytes: 40 };
const [CONNECT, PUBLISH, PINGREQ] = [0x10, 0x32, 0xc0];

/** A packet by MQTT 3.1.1, 2.2.3. */
function packet(type: number, bodyBytes: number): number[] {
  const length: number[] = [];
  let left = bodyBytes;
  do {
    length.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    left >>= 7;
  } while (left > 0);
  return [type, ...length, ...Array<number>(bodyBytes).fill(0xff)];
}

/** Brings a stream in pieces, each of them as often as the guard leaves bytes behind. */
function watch(stream: readonly number[], cuts: readonly number[], mostPackets?: number) {
  const guard = new PacketGuard(limits);
  const ends = [...cuts.map((cut) => cut % (stream.length + 1)), stream.length].toSorted((a, b) => a - b);
  let at = 0;
  const handedOn: number[] = [];
  for (const end of ends) {
    while (at < end && guard.offence === null) {
      const taken = guard.scan(Uint8Array.from(stream.slice(at, end)), mostPackets);
      at += taken;
      if (mostPackets !== undefined && guard.offence === null) handedOn.push(at);
    }
  }
  return { offence: guard.offence, sawConnect: guard.sawConnect, at, handedOn };
}

const wellFormed = fc
  .array(fc.tuple(fc.constantFrom(PUBLISH, PINGREQ), fc.nat(297)), { maxLength: 8 })
  .map((packets) => [packet(CONNECT, 30), ...packets.map(([type, bodyBytes]) => packet(type, bodyBytes))]);
const cuts = fc.array(fc.nat(), { maxLength: 12 });

describe("the packet guard", () => {
  it("lets every stream of packets within the limits through, however it is cut", () => {
    fc.assert(
      fc.property(wellFormed, cuts, (packets, where) => {
        const stream = packets.flat();
        expect(watch(stream, where)).toMatchObject({ offence: null, sawConnect: true, at: stream.length });
      }),
      { seed: 1 },
    );
  });

  it("comes to the same verdict at the same byte on any bytes, however they are cut", () => {
    const anyBytes = fc.array(fc.oneof(fc.nat(255), fc.constantFrom(0x10, 0x80, 0xff, 0x00, 0x32)), { maxLength: 600 });
    const stream = fc.oneof(
      anyBytes,
      fc.tuple(wellFormed, anyBytes).map(([packets, more]) => [...packets.flat(), ...more]),
    );
    fc.assert(
      fc.property(stream, cuts, fc.integer({ min: 1, max: 5 }), (bytes, where, mostPackets) => {
        const { offence, sawConnect, at } = watch(bytes, []);
        expect(watch(bytes, where)).toMatchObject({ offence, sawConnect, at });
        expect(watch(bytes, where, mostPackets)).toMatchObject({ offence, sawConnect, at });
        const byteByByte = bytes.map((_, i) => i);
        expect(watch(bytes, byteByByte)).toMatchObject({ offence, sawConnect, at });
      }),
      { seed: 2, numRuns: 300 },
    );
  });

  it("stops behind as many packets as it is asked for", () => {
    fc.assert(
      fc.property(wellFormed, (packets) => {
        let end = 0;
        const boundaries = packets.map((each) => {
          end += each.length;
          return end;
        });
        expect(watch(packets.flat(), [], 1).handedOn).toEqual(boundaries);
      }),
      { seed: 3 },
    );
  });

  it.each<[string, number[], Offence | null]>([
    ["a packet of exactly the limit", [...packet(CONNECT, 10), ...packet(PUBLISH, 297)], null],
    ["a packet of one byte more", [...packet(CONNECT, 10), ...packet(PUBLISH, 298)], "packet-too-large"],
    ["a CONNECT of exactly its limit", packet(CONNECT, 38), null],
    ["a CONNECT of one byte more", packet(CONNECT, 39), "packet-too-large"],
    ["a declared 200 MB before CONNECT, of which nothing has come", [CONNECT, 0x80, 0x84, 0xaf, 0x5f], "packet-too-large"],
    ["a length that is too large before it is complete", [CONNECT, 0xff], "packet-too-large"],
    ["anything but CONNECT first", packet(PUBLISH, 10), "not-connect"],
    ["a TLS handshake", [0x16, 3, 1, 2, 0, 1], "not-connect"],
    ["a length in a fifth byte", [...packet(CONNECT, 10), PUBLISH, 0x80, 0x80, 0x80, 0x80], "malformed-length"],
    ["a length with needless bytes, as a parser reads it", [...packet(CONNECT, 10), PUBLISH, 0x81, 0x80, 0x00, 0xff], null],
  ])("judges %s by its header", (_, stream, offence) => {
    expect(watch(stream, []).offence).toBe(offence);
  });
});

describe("the allowance of a client", () => {
  it("grows while answers come within a second, and is at least one however late they come", () => {
    expect(allowanceAfter(8, 8, 1, 64)).toBe(9);
    expect(allowanceAfter(64, 40, 1, 64)).toBe(64);
    expect(allowanceAfter(16, 16, 4000, 64)).toBe(4);
    expect(allowanceAfter(3, 3, 60_000, 64)).toBe(1);
  });

  it("settles where messages wait a second or two, whatever the rate at which they are taken one by one", () => {
    for (const perSecond of [0.1, 3, 20, 50]) {
      let allowance = 8;
      let longestMs = 0;
      for (let round = 0; round < 20; round++) {
        const sent = allowance;
        for (let ahead = 1; ahead <= sent; ahead++) {
          const waitedMs = (ahead / perSecond) * 1000;
          allowance = allowanceAfter(allowance, ahead, waitedMs, 64);
          if (round > 0) longestMs = Math.max(longestMs, waitedMs);
        }
      }
      expect(longestMs).toBeLessThanOrEqual(Math.max(2100, 1000 / perSecond));
      expect(allowance).toBeGreaterThanOrEqual(Math.min(64, Math.floor(perSecond)));
    }
  });
});
