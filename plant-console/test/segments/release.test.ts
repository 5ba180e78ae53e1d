import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { documentId } from "@smile/schemas/documents";
import { publicHalf, signBytes } from "@smile/schemas/ed25519";
import { describe, expect, it } from "vitest";
import { checkRelease, type Release, ReleaseDocument, signRelease, signRequest } from "../../src/segments/release.ts";

const secret = () => generateKeyPairSync("ed25519").privateKey;
const [analyst, council, stranger] = [secret(), secret(), secret()];
const keys = { analysts: [createPublicKey(analyst)], releasers: [createPublicKey(council)] };
const numbers = { people: 60, groups: 3, withheld: 2, minimum: 10 };
const results = { plant: "essen", jobId: "survey", headId: "c".repeat(64), resultsHash: "a".repeat(64), ...numbers };
const request = signRequest({ ...results, scope: "groups", purpose: "where training is missing", requestedAtMs: 1 }, analyst);
const release = signRelease(request, 2, council);
const invalid = expect.objectContaining({ code: "SIGNATURE_INVALID" });

describe("a release", () => {
  it("holds for the results that an analyst asked for and the works council released, also when it was written to a file", () => {
    expect(() => checkRelease(release, results, keys)).not.toThrow();
    const read = ReleaseDocument.parse(JSON.parse(JSON.stringify(release)));
    expect(() => checkRelease(read, results, keys)).not.toThrow();
  });

  it("does not hold for other results, another job, head or plant, nor when the numbers that were told are not the results'", () => {
    const wrong = [{ people: 61 }, { groups: 4 }, { withheld: 0 }, { minimum: 12 }];
    for (const other of [{ resultsHash: "b".repeat(64) }, { headId: "d".repeat(64) }, { jobId: "survey 2" }, { plant: "bochum" }, ...wrong])
      expect(() => checkRelease(release, { ...results, ...other }, keys)).toThrow(invalid);
  });

  it("does not hold when any field of it, or of its request, was changed", () => {
    const changes: Partial<Release>[] = [
      { releasedAtMs: 3 },
      { releaser: publicHalf(stranger) },
      { signature: request.signature },
      { request: { ...request, purpose: "whom to dismiss" } },
      { request: { ...request, scope: "records" } },
      { request: { ...request, requestedAtMs: 0 } },
      { request: { ...request, analyst: publicHalf(stranger) } },
      { request: { ...request, signature: release.signature } },
    ];
    for (const change of changes) expect(() => checkRelease({ ...release, ...change }, results, keys)).toThrow(invalid);
  });

  it("of other results does not hold for these when its request is put in their place", () => {
    const others = { ...results, resultsHash: "b".repeat(64) };
    const asked = signRequest({ ...others, scope: "groups", purpose: "where training is missing", requestedAtMs: 1 }, analyst);
    expect(() => checkRelease({ ...release, request: asked }, others, keys)).toThrow(invalid);
  });

  it("does not hold when a stranger asked, or released, or the two changed parts", () => {
    const asked = (key: typeof analyst) => signRequest({ ...results, scope: "groups", purpose: "curiosity", requestedAtMs: 1 }, key);
    expect(() => checkRelease(signRelease(asked(stranger), 2, council), results, keys)).toThrow(invalid);
    expect(() => checkRelease(signRelease(request, 2, stranger), results, keys)).toThrow(invalid);
    expect(() => checkRelease(signRelease(asked(council), 2, analyst), results, keys)).toThrow(invalid);
  });

  it("is never by the key that asked, even when that key may do both", () => {
    expect(() => signRelease(request, 2, analyst)).toThrow(invalid);
    const both = { analysts: [createPublicKey(analyst)], releasers: [createPublicKey(analyst), createPublicKey(council)] };
    const { signature: _, ...rest } = { ...release, releaser: request.analyst };
    const own = signBytes(Buffer.from(`smile.segment-release.v1\n${documentId(rest)}`), analyst);
    const forged = { ...rest, signature: Buffer.from(own).toString("base64") };
    expect(() => checkRelease(forged, results, both)).toThrow(
      expect.objectContaining({ message: expect.stringContaining("also released") }),
    );
  });

  it("is not given for a request that its analyst did not sign as it stands", () => {
    expect(() => signRelease({ ...request, purpose: "whom to dismiss" }, 2, council)).toThrow(invalid);
  });
});
