import { hash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { encodeCursor, parseCursor } from "@smile/schemas/cursor";
import { publicHalf } from "@smile/schemas/ed25519";
import { identityHash, openRegister, signRegister } from "@smile/schemas/plant-register";
import { RegisteredPlant } from "@smile/schemas/registered-plant";
import type { Target } from "./fuzzer.ts";
import { fixedKey, must } from "./keys.ts";

const words = [
  "{",
  "}",
  "[",
  "]",
  '"',
  ":",
  ",",
  "null",
  "true",
  "-0",
  "1e999",
  "1.5",
  "9007199254740993",
  '\\u0000"',
  '"__proto__":{},',
  "  ",
]
  .concat(['"topicId"', '"next"', '"state":"revoked"', '"retiring"', '"untilMs":1', '"gateway":"g2"', '"keys":[]', '"consoles":[]'])
  .map((word) => Buffer.from(word));

const active = { state: "active" as const, untilMs: null };
const publicKey = Buffer.from("public key");
const register = signRegister(
  {
    kind: "plant-register",
    version: 1,
    plant: "plant-1",
    serial: 7,
    issuedAtMs: 1_790_000_000_000,
    certificateAuthority: null,
    reads: { score: [1, 2], gap: [1], delivery: [1] },
    consoles: [{ console: "c1", certificateHash: hash("sha256", "c1"), ...active }],
    gateways: ["g1", "g2"].map((gateway, i) => ({
      gateway,
      lanes: { first: 8 * i, count: 8 },
      credentials: [{ signingKey: publicHalf(fixedKey(gateway).publicKey), certificateHash: hash("sha256", gateway), ...active }],
    })),
    keys: [
      {
        keyEpoch: 1,
        gateway: null,
        paramsId: hash("sha256", "params"),
        keyId: hash("sha256", publicKey),
        publicKey: publicKey.toString("base64"),
        ...active,
      },
    ],
  },
  fixedKey("identity").privateKey,
);

export const jsonTargets: readonly Target[] = [
  {
    name: "cursor",
    seeds: [
      encodeCursor({ topicId: "topic-1", partition: 3, next: 2 ** 40, resume: true }),
      encodeCursor({ topicId: null, partition: null, next: null, resume: false }),
    ],
    words,
    codes: ["FRAME_MALFORMED"],
    take: (input) => {
      const cursor = parseCursor(input);
      must(isDeepStrictEqual(parseCursor(encodeCursor(cursor)), cursor), "a cursor is another one after encoding");
      return cursor;
    },
  },
  {
    name: "register",
    seeds: [Buffer.from(JSON.stringify(register)), Buffer.from(JSON.stringify(register, null, 1))],
    words,
    codes: ["FILE_DAMAGED", "DOCUMENT_INVALID", "SIGNATURE_INVALID"],
    take: (input) => {
      const json = jsonOf(input);
      if (json === undefined) return undefined;
      const opened = openRegister(json, identityHash(register.identity), "register");
      must(isDeepStrictEqual(opened, register), "a register opens that the plant did not sign");
      return new RegisteredPlant(opened).lanesOf("g2");
    },
  },
];

/** Undefined for what is no JSON, which whoever reads the file refuses. */
function jsonOf(input: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(input).toString());
  } catch {
    return undefined;
  }
}
