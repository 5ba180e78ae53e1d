import type { Socket } from "node:net";
import { PassThrough } from "node:stream";
import { expect, it } from "vitest";
import { Intake } from "../src/mqtt-intake.ts";

const limits = { maxPacketBytes: 4096, maxConnectBytes: 4096, mostUnderWay: 64, mostBytesUnderWay: 1 << 20, packetTimeoutMs: 20_000 };
/** Fixed headers, and bodies that nobody looks at: CONNECT, and PUBLISH with QoS 1. */
const connect = Buffer.concat([Buffer.of(0x10, 10), Buffer.alloc(10)]);
const publish = Buffer.concat([Buffer.of(0x32, 100), Buffer.alloc(100)]);

it("hands a packet over whole when its beginning was kept back and its end is in the socket: nobody would ask for the end", () => {
  const socket = new PassThrough({ highWaterMark: 1 << 20 });
  const intake = new Intake(socket as unknown as Socket, limits, () => expect.unreachable());
  const read = () => socket.read() as Buffer | null;
  socket.write(connect);
  expect(read()).toEqual(connect);
  // All but one of the eight that may be under way at first.
  const answers = Array.from({ length: 7 }, () => intake.begin(100));
  socket.write(Buffer.concat([publish, publish.subarray(0, 40)]));
  expect(read()).toEqual(publish);
  answers.push(intake.begin(100));
  socket.write(publish.subarray(40));
  expect(read()).toBeNull();
  answers.pop()!();
  expect(read()).toEqual(publish);
});
