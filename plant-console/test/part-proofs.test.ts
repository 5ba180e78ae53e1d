import { scoreCodec } from "@smile/schemas/envelopes";
import { RegisteredPlant } from "@smile/schemas/registered-plant";
import { expect, it, vi } from "vitest";
import { PartProofs } from "../src/part-proofs.ts";
import { features, openFixturePlant } from "./fixture-plant.ts";

const leases = [{ gateway: "g1", firstLane: 0, machines: ["m0"] }];

async function signedScore() {
  await using plant = await openFixturePlant({ scheme: "identity", keyMode: "public", leases });
  const score = scoreCodec.decode(plant.score(0, [{ gateway: "g1", sequence: 1, frameTimeMs: 1, windows: { m0: features(1) } }]));
  return { score, part: score.parts[0]!, register: plant.registration.register };
}

it("asks for a gateway's keys once for a part that comes with several scores", async () => {
  const { score, part, register } = await signedScore();
  const plant = new RegisteredPlant(register);
  const signers = vi.spyOn(plant, "signersEver");
  const proofs = new PartProofs();
  for (const headId of ["a", "b", "c"]) expect(proofs.prove({ ...score, headId } as typeof score, part, plant)).toBe(true);
  expect(signers).toHaveBeenCalledTimes(1);
});

it("believes no part that differs in anything from the one that was proven", async () => {
  const { score, part, register } = await signedScore();
  const plant = new RegisteredPlant(register);
  const proofs = new PartProofs();
  expect(proofs.prove(score, part, plant)).toBe(true);
  const signature = Uint8Array.from(part.signature);
  signature[5]! ^= 1;
  const others = [
    { signature },
    { signature: part.signature.slice(0, 63) },
    { sequence: 2 },
    { block: 1 },
    { lanes: Uint8Array.of(2) },
    { frameTimeMs: 2 },
    { closedAtMs: 7 },
    { ciphertextHash: "0".repeat(64) },
  ];
  for (const other of others) expect(proofs.prove(score, { ...part, ...other }, plant)).toBe(false);
  expect(proofs.prove({ ...score, keyId: "0".repeat(64) }, part, plant)).toBe(false);
});

it("proves again under a newer register, which may have revoked the key", async () => {
  const { score, part, register } = await signedScore();
  const proofs = new PartProofs();
  expect(proofs.prove(score, part, new RegisteredPlant(register))).toBe(true);
  const gateways = register.gateways.map(({ credentials, ...gateway }) => {
    return { ...gateway, credentials: credentials.map((credential) => ({ ...credential, state: "revoked" as const })) };
  });
  expect(proofs.prove(score, part, new RegisteredPlant({ ...register, gateways }))).toBe(false);
});
