import { createRequire } from "node:module";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Encoded, sparingEncoder } from "../src/kafkajs-encoder.ts";

type Request = { correlationId: number; clientId: string; request: { apiKey: number; apiVersion: number; encode(): Promise<Encoded> } };
const createRequest = createRequire(import.meta.url)("kafkajs/src/protocol/request") as (request: Request) => Promise<{ buffer: Buffer }>;

/** The bytes that kafkajs sends for a body with so much room before it. */
async function sent(bytes: Uint8Array, clientId: string, room: number): Promise<Buffer> {
  const body = Buffer.alloc(room + bytes.length, 0xee).subarray(room);
  body.set(bytes);
  const encode = async () => ({ buf: body, buffer: body, room });
  return (await createRequest({ correlationId: 7, clientId, request: { apiKey: 0, apiVersion: 7, encode } })).buffer;
}

test("a request has the same bytes whether its body has room for the header, too little, or none", async () => {
  sparingEncoder();
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 3000 }),
      fc.string({ maxLength: 60 }),
      fc.nat({ max: 300 }),
      async (bytes, clientId, room) => {
        const name = Buffer.from(clientId);
        const header = Buffer.alloc(4 + 2 + 2 + 4 + 2);
        header.writeInt32BE(header.length - 4 + name.length + bytes.length, 0);
        header.writeInt16BE(7, 6);
        header.writeInt32BE(7, 8);
        header.writeInt16BE(name.length, 12);
        const expected = Buffer.concat([header, name, bytes]);
        expect(Buffer.compare(await sent(bytes, clientId, room), expected)).toBe(0);
        expect(Buffer.compare(await sent(bytes, clientId, 0), expected)).toBe(0);
      },
    ),
    { seed: 3, numRuns: 60 },
  );
});
