import { isDeepStrictEqual } from "node:util";
import type { EnvelopeCodec } from "@smile/schemas/avro";
import { batchCodec, deadLetterCodec, deliveryCodec, frameCodec, gapCodec, scoreCodec } from "@smile/schemas/envelopes";
import { isGapSigned, isPartSigned, isScoreSigned, signFrame, signGap, signScore } from "@smile/schemas/signing";
import { batch, EXAMPLES, frame, gap, score } from "../../schemas/test/example-envelopes.ts";
import type { Target } from "./fuzzer.ts";
import { fixedKey, must } from "./keys.ts";

const { privateKey, publicKey } = fixedKey("signer");
const keys = [publicKey];
const signedFrame = signFrame(frame, privateKey);
const signedPart = { ...score.parts[0]!, signature: signFrame({ ...frame, ...score.parts[0]! }, privateKey).signature };
const signedGap = signGap(gap, privateKey);
const signedScore = signScore({ ...score, parts: [signedPart], replies: [Uint8Array.of(1, 2, 3), Uint8Array.of(4)] }, privateKey);
const example = <T>(name: string) => EXAMPLES.find((one) => one.name === name)!.value as T;

/**
 * Decoding gives a value that encodes and decodes to itself, or refuses.
 * @param isForged whether the value verifies although it is not what was signed
 */
export function codecTarget<T extends object>(
  name: string,
  codec: EnvelopeCodec<T>,
  seeds: readonly T[],
  isForged: (value: T) => boolean = () => false,
): Target {
  return {
    name,
    seeds: seeds.flatMap((value) => codec.versions.toReversed().map((version) => codec.encode(value, version))),
    words: ["bgv", "gateway-7", "\0", "é"].map((word) => Buffer.from(word)),
    codes: ["FRAME_MALFORMED"],
    take: (input) => {
      const value = codec.decode(input);
      must(
        isDeepStrictEqual(codec.decode(codec.encode(value)), value, { skipPrototype: true }),
        "a decoded value is another one after encoding",
      );
      must(!isForged(value), "a signature verifies over changed fields");
      return value;
    },
  };
}

/** Whether two values are equal but for how their bytes are held, and but for one field. */
function sameBut(field: string, a: object, b: object): boolean {
  const plain = (value: object) =>
    JSON.stringify({ ...value, [field]: null }, (_, inner) => (inner instanceof Uint8Array ? [...inner] : inner));
  return plain(a) === plain(b);
}

export const codecTargets: readonly Target[] = [
  codecTarget("frame", frameCodec, [signedFrame, { ...frame, ...score.parts[0]! }], (value) => {
    // A frame's ciphertext is held by its hash, which admission compares.
    return isPartSigned(value, value, keys) && !sameBut("ciphertext", value, decoded(frameCodec, signedFrame));
  }),
  codecTarget("gap", gapCodec, [signedGap], (value) => isGapSigned(value, keys) && !sameBut("", value, decoded(gapCodec, signedGap))),
  codecTarget("batch", batchCodec, [batch, { ...batch, parts: [] }]),
  codecTarget("score", scoreCodec, [signedScore, score], (value) => {
    // Parts prove themselves: see signScore.
    const unsigned = { ...value, parts: value.parts.map((part) => ({ ...part, signature: signedPart.signature })) };
    return isScoreSigned(value, keys) && !sameBut("", unsigned, decoded(scoreCodec, signedScore));
  }),
  codecTarget("delivery", deliveryCodec, [example("delivery")]),
  codecTarget("dead-letter", deadLetterCodec, [example("dead-letter")]),
];

/** As decoding gives it: its fields in the schema's order. */
function decoded<T>(codec: EnvelopeCodec<T>, value: T): T {
  return codec.decode(codec.encode(value));
}
