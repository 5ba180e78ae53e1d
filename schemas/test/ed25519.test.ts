import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { expect, it } from "vitest";
import { isSignedBy, publicHalf, SIGNATURE_BYTES, signBytes, signingKey, verifyingKey } from "../src/ed25519.ts";

/** RFC 8032, 7.1, test 3: two bytes signed. The secret key stands in its PKCS #8 form (RFC 8410, 7). */
const SECRET = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7";
const PUBLIC = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
const MESSAGE = "af82";
const SIGNATURE =
  "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";

const hex = (text: string) => Buffer.from(text, "hex");
const pkcs8 = Buffer.concat([hex("302e020100300506032b657004220420"), hex(SECRET)]).toString("base64");
const refusal = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (!isPipelineError(error, "DOCUMENT_INVALID")) throw error;
    return `${error.message} ${String(error.cause)} ${JSON.stringify(error.facts)}`;
  }
  return "accepted";
};

it("signs and verifies as RFC 8032 says, with keys as documents write them", () => {
  const secret = signingKey(pkcs8);
  const open = verifyingKey(hex(PUBLIC).toString("base64"));
  expect(publicHalf(secret)).toBe(hex(PUBLIC).toString("base64"));
  expect(publicHalf(open)).toBe(hex(PUBLIC).toString("base64"));
  expect(Buffer.from(signBytes(hex(MESSAGE), secret)).toString("hex")).toBe(SIGNATURE);
  expect(isSignedBy(hex(MESSAGE), hex(SIGNATURE), [open])).toBe(true);
});

it("refuses every changed bit of a signature, and every other length", () => {
  const key = verifyingKey(hex(PUBLIC).toString("base64"));
  const signature = hex(SIGNATURE);
  expect(signature.length).toBe(SIGNATURE_BYTES);
  for (let bit = 0; bit < 512; bit++) {
    const changed = Uint8Array.from(signature).with(bit >> 3, signature[bit >> 3]! ^ (1 << (bit & 7)));
    expect(isSignedBy(hex(MESSAGE), changed, [key])).toBe(false);
  }
  for (const other of [new Uint8Array(0), signature.subarray(1), Buffer.concat([signature, Buffer.of(0)]), new Uint8Array(64)]) {
    expect(isSignedBy(hex(MESSAGE), other, [key])).toBe(false);
  }
});

it("a second form of the same signature, its scalar raised by the group's order, is refused", () => {
  // L = 2^252 + 27742317777372353535851937790883648493, little-endian in the last 32 bytes (RFC 8032, 5.1.7: S must be below L).
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const scalar = BigInt(`0x${Buffer.from(hex(SIGNATURE).subarray(32)).reverse().toString("hex")}`) + order;
  const raised = Buffer.concat([hex(SIGNATURE).subarray(0, 32), hex(scalar.toString(16).padStart(64, "0")).reverse()]);
  expect(isSignedBy(hex(MESSAGE), raised, [verifyingKey(hex(PUBLIC).toString("base64"))])).toBe(false);
});

it("32 bytes that are no point of the curve are a key that verifies nothing, and throw nothing", () => {
  // y = 2 is not on the curve.
  const key = verifyingKey(Buffer.alloc(32).fill(2, 0, 1).toString("base64"));
  expect(isSignedBy(hex(MESSAGE), hex(SIGNATURE), [key])).toBe(false);
});

it.each(["", "AAAA", hex(PUBLIC).subarray(1).toString("base64"), Buffer.alloc(33).toString("base64")])("'%s' is no public key", (text) => {
  expect(refusal(() => verifyingKey(text))).toContain("32 bytes");
});

it("a secret key of another kind, or damaged, is refused without being quoted", () => {
  const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "der", type: "pkcs8" }).toString("base64");
  for (const text of ["", "AAAA", pkcs8.slice(4), hex(SECRET).toString("base64"), other]) {
    const message = refusal(() => signingKey(text));
    expect(message).toContain("PKCS #8");
    if (text !== "") expect(message).not.toContain(text);
  }
  expect(signingKey(pkcs8).equals(createPrivateKey({ key: Buffer.from(pkcs8, "base64"), format: "der", type: "pkcs8" }))).toBe(true);
});
