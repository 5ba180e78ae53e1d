import "reflect-metadata";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type TLSSocket } from "node:tls";
import { Pkcs10CertificateRequest } from "@peculiar/x509";
import { describe, expect, it } from "vitest";
import { createAuthority } from "../src/authority.ts";
import { type CertificateAndKey, certify } from "../src/certify.ts";
import { certificateHash, checkAuthority, checkCertificate, expiresAtMs, onlyCertificates } from "../src/check-certificate.ts";
import { createRequest, issueClientCertificate } from "../src/client-certificate.ts";
import { hostsOf, issueServerCertificate } from "../src/server-certificate.ts";

const DAY_MS = 86_400_000;
const client = { plant: "north", role: "gateway", name: "hall-1" } as const;
const operator = await createAuthority({ name: "operator", days: 10 });
const plant = await createAuthority({ name: "plant north", days: 10 });
const server = await issueServerCertificate(operator, { hosts: ["localhost", "127.0.0.1", "::1"], days: 5 });
const gateway = await issueClientCertificate(plant, { ...client, days: 5 });

type Handshake = { server?: CertificateAndKey; client?: CertificateAndKey; clientTrusts?: string; servername?: string };

/**
 * What the server says to a client over a real socket of this machine: who it is, or why it is not let in.
 * @param rejectUnauthorized false for a server that tells the reason instead of ending the connection
 */
async function answer(options: Handshake = {}, rejectUnauthorized = true): Promise<string> {
  const { certificate: cert, key } = options.server ?? server;
  const listener = createServer({ cert, key, ca: plant.certificate, requestCert: true, rejectUnauthorized }, (socket: TLSSocket) => {
    const peer = socket.getPeerX509Certificate()!;
    socket.on("error", () => {});
    // Node types it as an error; it is the code.
    socket.end(socket.authorized ? `${peer.subject.replaceAll("\n", ", ")} ${peer.fingerprint256}` : String(socket.authorizationError));
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  try {
    const mine = options.client ?? gateway;
    const socket = connect({
      host: "127.0.0.1",
      port: (listener.address() as { port: number }).port,
      servername: options.servername ?? "localhost",
      ca: options.clientTrusts ?? operator.certificate,
      cert: mine.certificate,
      key: mine.key,
    });
    let text = "";
    for await (const chunk of socket.setEncoding("utf8")) text += chunk;
    return text;
  } finally {
    listener.close();
  }
}

/** Nothing comes from a server that refuses: with TLS 1.3 the client believes in the connection first. */
async function refusal(certificate: CertificateAndKey): Promise<string> {
  expect(await answer({ client: certificate }).catch(() => "")).toBe("");
  return await answer({ client: certificate }, false);
}

describe("mutual TLS with certificates of ours", () => {
  it("connects, and the server learns who the client is, and the hash that the register holds", async () => {
    const [subject, fingerprint = ""] = (await answer()).split(/ (?=[0-9A-F]{2}:)/);
    expect(subject).toBe("O=north, OU=gateway, CN=hall-1");
    expect(fingerprint.replaceAll(":", "").toLowerCase()).toBe(certificateHash(gateway.certificate));
  });

  it("connects by each of the server's addresses", async () => {
    for (const servername of ["localhost", "127.0.0.1", "::1"]) {
      const certificate = new X509Certificate(server.certificate);
      const found = /^[\d.:]+$/.test(servername) ? certificate.checkIP(servername) : certificate.checkHost(servername);
      expect(found, servername).toBe(servername);
    }
    expect(new X509Certificate(server.certificate).checkHost("elsewhere.example")).toBeUndefined();
    expect(hostsOf(server.certificate)).toEqual(["localhost", "127.0.0.1", "::1"]);
  });

  it("refuses a server under another name, one that has expired, and one of a foreign authority", async () => {
    await expect(answer({ servername: "elsewhere.example" })).rejects.toMatchObject({ code: "ERR_TLS_CERT_ALTNAME_INVALID" });
    const old = await issueServerCertificate(operator, { hosts: ["localhost"], days: 1, nowMs: Date.now() - 2 * DAY_MS });
    await expect(answer({ server: old })).rejects.toMatchObject({ code: "CERT_HAS_EXPIRED" });
    await expect(answer({ clientTrusts: plant.certificate })).rejects.toMatchObject({ code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" });
  });

  it("refuses a client that has expired, is not in force yet, is of a foreign authority, or is a server", async () => {
    const nowMs = Date.now();
    const expired = await issueClientCertificate(plant, { ...client, days: 1, nowMs: nowMs - 2 * DAY_MS });
    const early = await issueClientCertificate(plant, { ...client, days: 1, nowMs: nowMs + DAY_MS });
    const impostor = await createAuthority({ name: "plant north", days: 10 });
    const foreign = await issueClientCertificate(impostor, { ...client, days: 5 });
    const misused = await issueServerCertificate(plant, { hosts: ["localhost"], days: 5 });
    const refusals: [client: CertificateAndKey, why: string][] = [
      [expired, "CERT_HAS_EXPIRED"],
      [early, "CERT_NOT_YET_VALID"],
      [foreign, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
      [misused, "INVALID_PURPOSE"],
    ];
    for (const [each, why] of refusals) expect(await refusal(each)).toBe(why);
  });

  it("refuses a client whose certificate another client issued: only the authority may", async () => {
    const issued = await issueClientCertificate(gateway, { ...client, name: "hall-2", days: 1 });
    const chain = { certificate: issued.certificate + gateway.certificate, key: issued.key };
    // An invalid CA; Node 24 has no name for that.
    expect(await refusal(chain)).toMatch(/^(INVALID_CA|UNSPECIFIED)$/);
  });
});

describe("form of certificates", () => {
  it("gives each a serial number of its own with 128 random bits", async () => {
    const serials = [operator, plant, server, gateway].map(({ certificate }) => new X509Certificate(certificate).serialNumber);
    expect(new Set(serials).size).toBe(4);
    for (const serial of serials) expect(serial).toMatch(/^01[0-9A-F]{32}$/);
  });

  it("starts five minutes back and lasts as many days as asked", async () => {
    const nowMs = Date.UTC(2027, 0, 1);
    const { certificate } = await issueClientCertificate(plant, { ...client, days: 90, nowMs });
    expect(new X509Certificate(certificate).validFromDate.getTime()).toBe(nowMs - 300_000);
    expect(expiresAtMs(certificate)).toBe(nowMs + 90 * DAY_MS);
  });

  it("refuses hosts that are none, a server without hosts, and times that are none", async () => {
    const code = { code: "CERTIFICATE_INVALID" };
    for (const hosts of [[], ["two words"], ["-a"], ["*"], ["mqtts://a"]])
      await expect(issueServerCertificate(operator, { hosts, days: 1 })).rejects.toMatchObject(code);
    for (const days of [0, -1, Number.NaN, 1e6]) await expect(createAuthority({ name: "a", days })).rejects.toMatchObject(code);
  });

  it("refuses an authority whose key is none, without quoting it", async () => {
    const broken = { ...plant, key: plant.key.replace("A", "B").slice(0, 90) };
    await expect(issueClientCertificate(broken, { ...client, days: 1 })).rejects.toMatchObject({
      code: "CERTIFICATE_INVALID",
      message: expect.not.stringContaining(plant.key.slice(40, 60)),
    });
  });
});

describe("checkCertificate", () => {
  const expected = { ...client, authority: plant.certificate, nowMs: Date.now() };
  const why = (says: string) => expect.objectContaining({ code: "CERTIFICATE_INVALID", message: expect.stringContaining(says) });

  it("takes the client's own, also where several authorities count", () => {
    checkCertificate(gateway.certificate, { ...expected, key: gateway.key });
    checkCertificate(gateway.certificate, { ...expected, authority: operator.certificate + plant.certificate });
    checkAuthority(operator.certificate + plant.certificate, "authority.pem");
  });

  it("refuses another client's, another authority's, another key, one outside its time, and what is no certificate", async () => {
    const other = await issueClientCertificate(plant, { ...client, name: "hall-2", days: 1 });
    const lookalike = await createAuthority({ name: "plant north", days: 1 });
    expect(() => checkCertificate(other.certificate, expected)).toThrow(why("CN=hall-1"));
    for (const changed of [{ plant: "south" }, { role: "console" as const }, { name: "hall" }])
      expect(() => checkCertificate(gateway.certificate, { ...expected, ...changed })).toThrow(why("its subject must be"));
    for (const authority of [operator.certificate, lookalike.certificate, gateway.certificate, ""])
      expect(() => checkCertificate(gateway.certificate, { ...expected, authority })).toThrow(why("was not issued"));
    expect(() => checkCertificate(gateway.certificate, { ...expected, key: other.key })).toThrow(why("belongs to another key"));
    expect(() => checkCertificate(gateway.certificate, { ...expected, key: other.key.slice(0, 90) })).toThrow(why("the key is no"));
    expect(() => checkCertificate(gateway.certificate, { ...expected, nowMs: expected.nowMs + 6 * DAY_MS })).toThrow(why("ended on"));
    expect(() => checkCertificate(gateway.certificate, { ...expected, nowMs: expected.nowMs - DAY_MS })).toThrow(why("only from"));
    expect(() => checkCertificate("certificate", expected)).toThrow(why("PEM"));
    expect(() => checkAuthority(gateway.certificate, "authority.pem")).toThrow(why("no authority's certificate"));
    expect(() => checkAuthority("", "authority.pem")).toThrow(why("no certificate"));
  });

  it("refuses a subject with an attribute twice, and a server's certificate with the client's subject", async () => {
    const key = gateway.key;
    const publicKey = new X509Certificate(gateway.certificate).publicKey;
    const make = (subject: Record<string, string[]>[]) =>
      certify({ subject, publicKey, validity: { days: 1 }, extensions: [], issuer: plant });
    const twice = await make([{ O: ["north"] }, { OU: ["gateway"] }, { CN: ["hall-1"] }, { CN: ["hall-2"] }]);
    expect(() => checkCertificate(twice, { ...expected, key })).toThrow(why("its subject must be"));
    const unused = await make([{ O: ["north"] }, { OU: ["gateway"] }, { CN: ["hall-1"] }]);
    expect(() => checkCertificate(unused, { ...expected, key })).toThrow(why("authentication of clients"));
  });
});

it("takes the certificates out of a file, and leaves the secret key that stands beside them", () => {
  const file = `Subject: plant north\n${plant.key}${plant.certificate}\n${operator.certificate}`;
  expect(onlyCertificates(file)).toBe(plant.certificate + operator.certificate);
  expect(onlyCertificates(plant.key)).toBe("");
});

it("asks a foreign authority for a client's certificate by a request that proves its key", async () => {
  const { request, key } = await createRequest(client);
  const parsed = new Pkcs10CertificateRequest(request);
  expect(request).toMatch(/^-----BEGIN CERTIFICATE REQUEST-----/);
  expect(parsed.subject).toBe("O=north, OU=gateway, CN=hall-1");
  expect(await parsed.verify()).toBe(true);
  expect(key).toMatch(/^-----BEGIN PRIVATE KEY-----/);
});
