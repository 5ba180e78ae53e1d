import { createAuthority } from "@smile/identity/authority";
import type { CertificateAndKey } from "@smile/identity/certify";
import { certificateHash } from "@smile/identity/check-certificate";
import { issueClientCertificate } from "@smile/identity/client-certificate";
import { issueServerCertificate } from "@smile/identity/server-certificate";
import type { PlantRegister, Registration } from "@smile/schemas/plant-register";
import { fixturePlant } from "../../schemas/test/fixture-register.ts";
import type { TlsMaterial } from "../src/tls-files.ts";

/** The service's side: its authority, and a certificate for a listener on loopback. */
export async function tlsService() {
  const authority = await createAuthority({ name: "service", days: 30 });
  const server = async (hosts: readonly string[] = ["127.0.0.1", "localhost"]): Promise<TlsMaterial> =>
    issueServerCertificate(authority, { hosts, days: 10 });
  return { authority, server };
}

export type TlsPlant = {
  readonly plant: string;
  readonly authority: CertificateAndKey;
  readonly register: PlantRegister;
  /** By gateway. */
  readonly gateways: ReadonlyMap<string, CertificateAndKey>;
  readonly console: CertificateAndKey;
  readonly next: (changes: Partial<Registration>) => PlantRegister;
};

/** A plant whose register holds the certificates of its gateways and of the console `console`. */
export async function tlsPlant(plant: string, names: readonly string[], authorityName = `${plant} authority`): Promise<TlsPlant> {
  const authority = await createAuthority({ name: authorityName, days: 30 });
  const issue = (role: "gateway" | "console", name: string) => issueClientCertificate(authority, { plant, role, name, days: 10 });
  const gateways = new Map<string, CertificateAndKey>();
  for (const name of names) gateways.set(name, await issue("gateway", name));
  const console = await issue("console", "console");
  const { register, next } = fixturePlant({ plant, gateways: names.map((gateway) => ({ gateway })) });
  const active = { state: "active", untilMs: null } as const;
  const registered = next({
    certificateAuthority: authority.certificate,
    consoles: [{ console: "console", certificateHash: certificateHash(console.certificate), ...active }],
    gateways: register.gateways.map((each) => ({
      ...each,
      credentials: each.credentials.map((one) => ({
        ...one,
        certificateHash: certificateHash(gateways.get(each.gateway)!.certificate),
      })),
    })),
  });
  return { plant, authority, register: registered, gateways, console, next };
}

/** The register's gateways with a change of one gateway's credentials. */
export function withCredentials(
  register: PlantRegister,
  gateway: string,
  change: (credentials: PlantRegister["gateways"][number]["credentials"]) => PlantRegister["gateways"][number]["credentials"],
): Pick<PlantRegister, "gateways"> {
  return {
    gateways: register.gateways.map((each) => (each.gateway === gateway ? { ...each, credentials: change(each.credentials) } : each)),
  };
}
