import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { batchCodec, type Frame, frameCodec, gapCodec, type Part, type Score, scoreCodec } from "../src/envelopes.ts";
import { isGapSigned, isPartSigned, isScoreSigned, signFrame, signGap, signScore } from "../src/signing.ts";
import { changesOf } from "./changes.ts";
import { batch, frame as exampleFrame, gap as exampleGap, score as exampleScore } from "./example-envelopes.ts";

const gateway = generateKeyPairSync("ed25519");
const service = generateKeyPairSync("ed25519");
const frame = signFrame(exampleFrame, gateway.privateKey);
const streamed = signFrame({ ...exampleFrame, ...exampleScore.parts[0]! }, gateway.privateKey);
const gap = signGap(exampleGap, gateway.privateKey);
const partOf = (signed: Frame) =>
  Object.fromEntries(Object.keys(exampleScore.parts[0]!).map((key) => [key, signed[key as keyof Part]])) as Part;
const part = partOf(frame);
/** A score over two signed parts, one of a job and one of a stream. */
const score = signScore({ ...exampleScore, parts: [part, partOf(streamed)] }, service.privateKey);

const isFrameSigned = (value: Frame) => isPartSigned(value, value, [gateway.publicKey]);

describe("a signature", () => {
  it("is its signer's, and nobody else's", () => {
    expect(isFrameSigned(frame)).toBe(true);
    expect(isGapSigned(gap, [gateway.publicKey])).toBe(true);
    expect(isScoreSigned(score, [service.publicKey])).toBe(true);
    // Among other keys it is found; without it, or without any key, it is not.
    expect(isPartSigned(frame, frame, [service.publicKey, gateway.publicKey])).toBe(true);
    for (const keys of [[], [service.publicKey]]) {
      expect(isPartSigned(frame, frame, keys)).toBe(false);
      expect(isGapSigned(gap, keys)).toBe(false);
    }
    expect(isScoreSigned(score, [gateway.publicKey])).toBe(false);
  });

  it("of a frame breaks with any changed field, its own included; the ciphertext stands in it by its hash", () => {
    const { ciphertext, ...signed } = frame;
    const changes = [...changesOf(signed), ...changesOf({ ...signed, jobId: null }), ...changesOf({ ...signed, frameCount: null })];
    expect(new Set(changesOf(signed).map(({ path }) => path.split(".")[1]))).toEqual(new Set(Object.keys(signed)));
    for (const { path, changed } of changes) expect(isFrameSigned({ ...(changed as Frame), ciphertext }), path).toBe(false);
    for (const { path, changed } of changesOf({ jobId: null, frameCount: null })) {
      expect(isFrameSigned({ ...streamed, ...(changed as object) }), path).toBe(false);
    }
  });

  it("of a gap breaks with any changed field", () => {
    expect(new Set(changesOf(gap).map(({ path }) => path.slice(1)))).toEqual(new Set(Object.keys(gap)));
    for (const { path, changed } of changesOf(gap)) expect(isGapSigned(changed as typeof gap, [gateway.publicKey]), path).toBe(false);
  });

  it("of a score breaks with any changed field, part or reply, also when whole parts or replies are left out, doubled or moved", () => {
    const covered = changesOf(score).filter(({ path }) => !/^\.parts\.\d\.signature$/.test(path));
    expect(new Set(covered.map(({ path }) => path.split(".")[1]))).toEqual(new Set(Object.keys(score)));
    for (const { path, changed } of covered) expect(isScoreSigned(changed as Score, [service.publicKey]), path).toBe(false);
  });

  it("of a score leaves the signatures of its parts to themselves: a changed one is no part's any more", () => {
    const changes = changesOf(score).filter(({ path }) => /^\.parts\.\d\.signature$/.test(path));
    expect(changes.length).toBeGreaterThan(100);
    for (const { changed } of changes) {
      const { parts } = changed as Score;
      expect(isScoreSigned(changed as Score, [service.publicKey])).toBe(true);
      expect(parts.every((one) => isPartSigned(score, one, [gateway.publicKey]))).toBe(false);
    }
  });

  it("never counts for a statement of another kind", () => {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const signatures = [
      signFrame(exampleFrame, privateKey).signature,
      signGap(exampleGap, privateKey).signature,
      signScore(exampleScore, privateKey).signature,
    ];
    const verified = signatures.map((signature) => [
      isPartSigned(exampleFrame, { ...exampleFrame, signature }, [publicKey]),
      isGapSigned({ ...exampleGap, signature }, [publicKey]),
      isScoreSigned({ ...exampleScore, signature }, [publicKey]),
    ]);
    expect(verified).toEqual([
      [true, false, false],
      [false, true, false],
      [false, false, true],
    ]);
  });

  it("of another kind of ciphertext, or of another plant, does not carry a part over", () => {
    const kind = { plant: "plant-2", paramsId: "1".repeat(64), keyId: "2".repeat(64), featureSetId: "3".repeat(64) };
    for (const [key, value] of Object.entries(kind))
      expect(isPartSigned({ ...frame, [key]: value }, part, [gateway.publicKey])).toBe(false);
  });
});

describe("on the wire", () => {
  it("a frame and a gap stay signed", () => {
    expect(isFrameSigned(frameCodec.decode(frameCodec.encode(frame)))).toBe(true);
    expect(isGapSigned(gapCodec.decode(gapCodec.encode(gap)), [gateway.publicKey])).toBe(true);
  });

  it("a part stays signed inside a batch, and inside the score of that batch", () => {
    const { scheme, keyMode } = frame;
    const merged = batchCodec.decode(batchCodec.encode({ ...batch, scheme, keyMode, parts: [part, streamed] }));
    expect(merged.parts.map((one) => isPartSigned(merged, one, [gateway.publicKey]))).toEqual([true, true]);
    const scored = scoreCodec.decode(scoreCodec.encode(score));
    expect(scored.parts.map((one) => isPartSigned(scored, one, [gateway.publicKey]))).toEqual([true, true]);
  });

  it("a score stays signed in every version; its parts do not in version 1, which has no room for their signatures", () => {
    for (const version of scoreCodec.versions) {
      const read = scoreCodec.decode(scoreCodec.encode(score, version));
      expect(isScoreSigned(read, [service.publicKey])).toBe(true);
      expect(read.parts.map((one) => isPartSigned(read, one, [gateway.publicKey]))).toEqual([version > 1, version > 1]);
    }
  });
});
