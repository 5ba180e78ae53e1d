import { hash } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import { avroType } from "@smile/schemas/avro";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import { isPartSigned, signFrame } from "@smile/schemas/signing";
import { frame } from "../../schemas/test/example-envelopes.ts";
import { codecTarget } from "./codec-targets.ts";
import type { Finding, Target } from "./fuzzer.ts";
import { fixedKey } from "./keys.ts";

/** A parser with a planted mistake, and what the fuzzer should call it. */
type Mutant = { readonly kind: Finding["kind"]; readonly detail: RegExp; readonly target: Target };

const refuse = (what: string): never => {
  throw new PipelineError("FRAME_MALFORMED", what);
};
const mutant = (name: string, seed: Uint8Array, take: (input: Uint8Array) => unknown): Target => ({
  name,
  seeds: [seed],
  words: [],
  codes: ["FRAME_MALFORMED"],
  take,
});

/** Reads with avsc's own reader, whose buffer pool a length that is no number makes unusable: the mistake that envelopes once had. */
const record = avroType({
  type: "record",
  name: "R",
  fields: [
    { name: "payload", type: "bytes" },
    { name: "id", type: { type: "fixed", name: "Id", size: 2 } },
  ],
});
const sharedPool = mutant("shared pool", record.toBuffer({ payload: Buffer.from("p"), id: Buffer.from("id") }), (input) => {
  try {
    return record.fromBuffer(Buffer.from(input));
  } catch {
    return refuse("not a record");
  }
});

/** Fails behind five branches in a row, each about another byte: one input has hardly ever five bytes changed, and all of them right. */
const deepBranch = mutant("deep branch", Buffer.alloc(5), (input) => {
  const low = (at: number) => (input[at] ?? 0) & 3;
  if (low(0) === 1) {
    if (low(1) === 2) {
      if (low(2) === 3) {
        if (low(3) === 1) {
          if (low(4) === 2) throw new TypeError("cannot read properties of undefined");
        }
      }
    }
  }
  return input.length;
});

/** Compares every item with every other. */
const quadratic = mutant("quadratic", Uint8Array.of(1, 2, 3), (input) => {
  const items = input.subarray(0, 1000);
  let doubles = 0;
  for (const a of items) for (const b of items) if (a === b) doubles++;
  return doubles;
});

/** Makes room for what a length claims before it looks at the bytes. */
const believer = mutant("believer", Uint8Array.of(0, 0, 0, 2, 7, 7), (input) => {
  if (input.length < 4) refuse("no length");
  const claimed = Buffer.from(input).readUInt32BE() & 0x07ffffff;
  const room = new Uint8Array(claimed);
  if (claimed > input.length - 4) refuse("too short");
  room.set(input.subarray(4, 4 + claimed));
  return room;
});

/** Holds nothing but the ids and the ciphertext's hash against the signature: a frame may be moved to another time or place. */
const { privateKey, publicKey } = fixedKey("mutant");
const signed = signFrame(frame, privateKey);
const { epoch, sequence, block, lanes, frameTimeMs, closedAtMs } = signed;
const unsigned = { epoch, sequence, block, lanes, frameTimeMs, closedAtMs };
const unsignedFields = codecTarget("unsigned fields", frameCodec, [signed], (value: Frame) => {
  return isPartSigned(value, { ...value, ...unsigned }, [publicKey]) && !isPartSigned(value, value, [publicKey]);
});

/** Keeps something of every input. */
const remembered = new Map<string, Uint8Array>();
const hoarder = mutant("hoarder", Uint8Array.of(1), (input) => {
  remembered.set(hash("sha256", input), new Uint8Array(1024 * 1024));
  return input.length;
});

export const MUTANTS: readonly Mutant[] = [
  { kind: "neighbour", detail: /came out changed/, target: sharedPool },
  { kind: "thrown", detail: /TypeError/, target: deepBranch },
  { kind: "work", detail: /blocks/, target: quadratic },
  { kind: "memory", detail: /MB/, target: believer },
  { kind: "thrown", detail: /a signature verifies over changed fields/, target: unsignedFields },
  { kind: "leak", detail: /MB behind/, target: hoarder },
];
