import { isPipelineError } from "@smile/errors/pipeline-error";
import { expect, it } from "vitest";
import { parseDocument } from "../src/documents.ts";
import { isSignedBy, signBytes, signingKey, verifyingKey } from "../src/ed25519.ts";
import { newSigningKey, SigningKeyDocument } from "../src/signing-key.ts";

it("a new key is a document, comes back from its JSON, and signs what its public half verifies", () => {
  const document = newSigningKey("gateway g1");
  const read = parseDocument(SigningKeyDocument, JSON.parse(JSON.stringify(document)), "key.json");
  expect(read).toEqual(document);
  const statement = Buffer.from("statement");
  expect(isSignedBy(statement, signBytes(statement, signingKey(read.secretKey)), [verifyingKey(read.publicKey)])).toBe(true);
});

it("no two keys are the same", () => {
  expect(new Set(Array.from({ length: 20 }, () => newSigningKey("g").secretKey)).size).toBe(20);
});

it("a document whose halves do not belong together, or that is damaged, is refused by the field and never quoted", () => {
  const document = newSigningKey("g");
  const other = newSigningKey("g");
  const damaged = Buffer.from(document.secretKey, "base64").fill(0, 0, 8).toString("base64");
  const wrong: [object, string][] = [
    [{ publicKey: other.publicKey }, "publicKey"],
    [{ secretKey: other.secretKey }, "publicKey"],
    [{ secretKey: damaged }, "secretKey"],
    [{ secretKey: "" }, "secretKey"],
    [{ secretKey: `${document.secretKey} ` }, "secretKey"],
    [{ owner: "" }, "owner"],
    [{ kind: "public-key" }, "kind"],
    [{ version: 2 }, "version"],
    [{ surplus: document.secretKey }, "surplus"],
  ];
  for (const [change, field] of wrong) {
    try {
      parseDocument(SigningKeyDocument, { ...document, ...change }, "key.json");
      expect.unreachable(`${field} was accepted`);
    } catch (error) {
      if (!isPipelineError(error, "DOCUMENT_INVALID")) throw error;
      expect(error.message).toContain(`key.json: ${field === "surplus" ? "top level" : field}`);
      for (const secret of [document.secretKey, other.secretKey, damaged]) expect(error.message).not.toContain(secret);
    }
  }
});
