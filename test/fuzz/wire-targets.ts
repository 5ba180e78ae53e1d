import { packBits } from "@smile/he/bit-packing";
import { decodeLanes, encodeLanes, laneCount } from "@smile/he/lanes";
import type { Params } from "@smile/he/params";
import { decodeSwitchedReply, encodeSwitchedReply } from "@smile/he/switched-reply";
import { checkFrame, decodeFull, decodeReply, decodeSeeded, encodeFull, encodeReply, encodeSeeded } from "@smile/he/wire";
import type { Target } from "./fuzzer.ts";
import { must } from "./keys.ts";

/** A ring as small as the layout allows: lengths and loops are the same, and a mutation meets the edges more often. */
const PARAMS: Params = { scheme: "bgv", n: 16, q: 9_007_199_086_968_833n, t: 2 ** 20 };
const FEATURES = 4;
const LANES = laneCount(PARAMS.n, FEATURES);

/** [2N] words of residues below q, different for each place. */
const residues = (step: number) => Uint32Array.from({ length: 2 * PARAMS.n }, (_, i) => (i % 2 === 0 ? (step * (i + 1)) >>> 0 : i + step));
const full = { c0: residues(0x9e3779b9 % 1_000_003), c1: residues(77_777) };
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
/** q - 1, q and beyond, as they stand in the packed bytes of an aligned residue. */
const words = [PARAMS.q - 1n, PARAMS.q, PARAMS.q + 1n, 2n ** 53n - 1n].map((residue) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(residue);
  return bytes.subarray(0, 7);
});

export const wireTargets: readonly Target[] = [
  {
    // Two bytes: the number of lanes. Then the set.
    name: "lanes",
    seeds: [
      [32, 0, 1, 0, 0, 128],
      [5, 0, 31],
      [0, 16, ...Array<number>(512).fill(255)],
    ].map((bytes) => Uint8Array.from(bytes)),
    words: [],
    codes: ["LANES_INVALID"],
    take: (input) => {
      const total = ((input[0] ?? 0) + 256 * (input[1] ?? 0)) % 4097;
      const lanes = decodeLanes(input.subarray(2), total);
      must(same(encodeLanes(lanes, total), input.subarray(2)), "a lane set has two forms");
      return lanes;
    },
  },
  {
    // One byte: which lanes are occupied. Then the reply.
    name: "reply",
    seeds: [[0], [1, 2], [0, 1, 2, 3]].map((lanes) =>
      Buffer.concat([encodeLanes(lanes, LANES), encodeReply(PARAMS, full, lanes, FEATURES)]),
    ),
    words,
    codes: ["FRAME_WRONG_LENGTH", "RESIDUE_OUT_OF_RANGE", "LANES_INVALID"],
    take: (input) => {
      const lanes = decodeLanes(input.subarray(0, 1), LANES);
      const reply = decodeReply(PARAMS, input.subarray(1), lanes, FEATURES);
      must(same(encodeReply(PARAMS, reply, lanes, FEATURES), input.subarray(1)), "a reply has two forms");
      return reply;
    },
  },
  {
    // One byte: which lanes are occupied. Then the reply, modulo 2^27.
    name: "switched reply",
    seeds: [[0], [1, 2], [0, 1, 2, 3]].map((lanes) =>
      Buffer.concat([encodeLanes(lanes, LANES), encodeSwitchedReply(PARAMS, 27, full, lanes, FEATURES)]),
    ),
    words,
    codes: ["FRAME_WRONG_LENGTH", "RESIDUE_OUT_OF_RANGE", "LANES_INVALID"],
    take: (input) => {
      const lanes = decodeLanes(input.subarray(0, 1), LANES);
      const { c0, c1 } = decodeSwitchedReply(PARAMS, 27, input.subarray(1), lanes, FEATURES);
      must(same(packBits(Float64Array.of(...c1, ...c0), 27), input.subarray(1)), "a reply has two forms");
      return [...c0, ...c1];
    },
  },
  {
    // One byte: the key mode. Then the ciphertext.
    name: "ciphertext",
    seeds: [
      Buffer.concat([Uint8Array.of(0), encodeFull(PARAMS, full)]),
      Buffer.concat([Uint8Array.of(1), encodeSeeded(PARAMS, { c0: full.c0, seed: new Uint8Array(64).fill(3) })]),
      Buffer.concat([Uint8Array.of(0), encodeFull(PARAMS, { c0: full.c0, c1: new Uint32Array(2 * PARAMS.n) })]),
    ],
    words,
    codes: ["FRAME_WRONG_LENGTH", "RESIDUE_OUT_OF_RANGE", "CIPHERTEXT_TRANSPARENT"],
    take: (input) => {
      const keyMode = ((input[0] ?? 0) & 1) === 0 ? "public" : "symmetric";
      const bytes = input.subarray(1);
      checkFrame(PARAMS, keyMode, bytes);
      const again =
        keyMode === "public" ? encodeFull(PARAMS, decodeFull(PARAMS, bytes)) : encodeSeeded(PARAMS, decodeSeeded(PARAMS, bytes));
      must(same(again, bytes), "a ciphertext has two forms");
      return again;
    },
  },
];
