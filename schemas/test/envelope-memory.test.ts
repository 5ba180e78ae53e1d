import { expect, it } from "vitest";
import { batchCodec, frameCodec } from "../src/envelopes.ts";

const frame = {
  plant: "north",
  scheme: "bgv" as const,
  keyMode: "public" as const,
  paramsId: "a".repeat(64),
  keyId: "b".repeat(64),
  featureSetId: "c".repeat(64),
  gateway: "g",
  epoch: 1,
  sequence: 2,
  block: 0,
  lanes: Uint8Array.of(1),
  frameTimeMs: 3,
  closedAtMs: 4,
  jobId: null,
  frameCount: null,
  ciphertextHash: "d".repeat(64),
  signature: new Uint8Array(64),
  ciphertext: new Uint8Array(5000).fill(1),
};

it("gives copies when it decodes, and views of the message when it only looks", () => {
  const message = frameCodec.encode(frame);
  const decoded = frameCodec.decode(message);
  const viewed = frameCodec.view(message);
  expect(Buffer.compare(decoded.ciphertext, viewed.ciphertext)).toBe(0);
  message.fill(9, message.length - 100);
  expect(decoded.ciphertext.at(-1)).toBe(1);
  expect(viewed.ciphertext.at(-1)).toBe(9);
});

it("writes each envelope into memory of its own, however long it is, and however long the one before was", () => {
  const { ciphertext, ciphertextHash, ...rest } = frame;
  const lengths = [10, 127 * 1024, 128 * 1024, 300 * 1024, 1_000_000, 10];
  const messages = lengths.map((length, i) =>
    batchCodec.encode({ ...rest, parts: [], ciphertextHash, ciphertext: new Uint8Array(length).fill(i) }),
  );
  for (const [i, message] of messages.entries()) {
    const bytes = batchCodec.decode(message).ciphertext;
    expect(Buffer.compare(bytes, new Uint8Array(lengths[i]!).fill(i))).toBe(0);
  }
});
