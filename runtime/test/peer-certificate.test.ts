import { X509Certificate } from "node:crypto";
import { certificateHash } from "@smile/identity/check-certificate";
import fc from "fast-check";
import { beforeAll, expect, it } from "vitest";
import { identifyPeer } from "../src/peer-certificate.ts";
import { FixedRegistry } from "../src/plant-registry.ts";
import { type TlsPlant, tlsPlant, withCredentials } from "./fixture-tls.ts";

let north: TlsPlant;
let own: X509Certificate;
beforeAll(async () => {
  north = await tlsPlant("north", ["press"]);
  own = new X509Certificate(north.gateways.get("press")!.certificate);
});

it("knows nobody by a certificate of which a byte was changed, even when the register holds its hash, and bears with whatever comes", () => {
  const der = Buffer.from(own.raw);
  let parsed = 0;
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const mutated = Buffer.from(der);
      mutated[at] = mutated[at]! ^ change;
      let certificate: X509Certificate;
      try {
        certificate = new X509Certificate(mutated);
      } catch {
        return; // no handshake gets as far
      }
      parsed++;
      const hash = certificateHash(certificate.toString());
      const register = { ...north.register, ...withCredentials(north.register, "press", (all) => [{ ...all[0]!, certificateHash: hash }]) };
      expect(typeof identifyPeer(certificate, new FixedRegistry([register]), Date.now())).toBe("string");
    }),
    { seed: 4, numRuns: 1000 },
  );
  expect(parsed).toBeGreaterThan(300);
});

it("follows the standing of a certificate in the register, to the millisecond", () => {
  const nowMs = Date.now();
  const at = (state: "active" | "retiring" | "revoked", untilMs: number | null, atMs: number) => {
    const change = withCredentials(north.register, "press", (all) => [{ ...all[0]!, state, untilMs }]);
    return identifyPeer(own, new FixedRegistry([{ ...north.register, ...change }]), atMs);
  };
  const press = { plant: "north", role: "gateway", name: "press" };
  expect(at("active", null, nowMs)).toEqual(press);
  expect(at("retiring", nowMs + 1, nowMs)).toEqual(press);
  expect(at("retiring", nowMs, nowMs)).toBe("not-registered");
  expect(at("revoked", null, nowMs)).toBe("not-registered");
});

it("takes a certificate of either authority while a plant changes from one to the next, and not of one that has ended", async () => {
  const next = await tlsPlant("north", ["press"], "next");
  const renewed = new X509Certificate(next.gateways.get("press")!.certificate);
  const both = withCredentials(north.register, "press", (all) => [
    ...all,
    { ...all[0]!, certificateHash: certificateHash(renewed.toString()) },
  ]);
  const register = { ...north.register, ...both, certificateAuthority: north.authority.certificate + next.authority.certificate };
  const registry = new FixedRegistry([register]);
  for (const certificate of [own, renewed]) expect(identifyPeer(certificate, registry, Date.now())).toMatchObject({ name: "press" });
  registry.replace({ ...register, certificateAuthority: next.authority.certificate });
  expect([identifyPeer(own, registry, Date.now()), identifyPeer(renewed, registry, Date.now())]).toEqual([
    "foreign-authority",
    { plant: "north", role: "gateway", name: "press" },
  ]);
  registry.replace({ ...register, certificateAuthority: null });
  expect(identifyPeer(renewed, registry, Date.now())).toBe("foreign-authority");
});
