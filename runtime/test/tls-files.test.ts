import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { createAuthority } from "@smile/identity/authority";
import type { CertificateAndKey } from "@smile/identity/certify";
import { issueServerCertificate } from "@smile/identity/server-certificate";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { silentLogger } from "../src/logging.ts";
import { readTls, type TlsFiles, watchTlsFiles } from "../src/tls-files.ts";

const dayMs = 86_400_000;
const settings = { certificate: "certificate.pem", key: "key.pem", authority: "authority.pem" };

let folder: string;
let authority: CertificateAndKey;
let server: CertificateAndKey;
const issue = (days = 10, nowMs = Date.now()) => issueServerCertificate(authority, { hosts: ["localhost"], days, nowMs });
const write = (name: string, text: string) => writeFileSync(join(folder, name), text, { mode: 0o600 });
const put = ({ certificate, key }: CertificateAndKey) => {
  write("certificate.pem", certificate);
  write("key.pem", key);
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "smile-tls-"));
  authority = await createAuthority({ name: "service", days: 400 });
  server = await issue();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  put(server);
  write("authority.pem", authority.certificate);
});

const failure = (change: object = {}) => {
  try {
    readTls({ ...settings, ...change }, folder, "frames.tls");
  } catch (error) {
    if (isPipelineError(error)) return error;
  }
  throw new Error("nothing was refused");
};

describe("readTls", () => {
  it("reads the files of the configuration's folder, the authority only where there is one", () => {
    expect(readTls(settings, folder)).toEqual({ ...server, authority: authority.certificate });
    expect(readTls({ certificate: settings.certificate, key: settings.key }, folder)).toEqual(server);
  });

  it.each(["certificate", "key", "authority"] as const)("names a %s that is missing, or is something else, without quoting it", (field) => {
    const missing = failure({ [field]: "nowhere.pem" });
    expect([missing.code, missing.message]).toEqual([
      "FILE_MISSING",
      expect.stringContaining(`frames.tls.${field}: ${folder}/nowhere.pem`),
    ]);
    write("letter.pem", "dear s3cret");
    const damaged = failure({ [field]: "letter.pem" });
    expect([damaged.code, damaged.message]).toEqual(["FILE_DAMAGED", expect.stringContaining(`frames.tls.${field}: ${folder}/letter.pem`)]);
    write("damaged.pem", `-----BEGIN ${field === "key" ? "PRIVATE KEY" : "CERTIFICATE"}-----\ns3cret\n-----END CERTIFICATE-----\n`);
    expect(failure({ [field]: "damaged.pem" }).code).toBe("FILE_DAMAGED");
    expect(`${damaged.message} ${damaged.cause}`).not.toContain("s3cret");
  });

  it.each([0o640, 0o604, 0o620, 0o644])("refuses a key file of mode %o", (mode) => {
    chmodSync(join(folder, "key.pem"), mode);
    expect([failure().code, failure().message]).toEqual(["CONFIG_INVALID", expect.stringContaining("key.pem must have mode 0600")]);
    chmodSync(join(folder, "key.pem"), 0o600);
  });

  it("refuses a key that belongs to another certificate", async () => {
    write("key.pem", (await issue()).key);
    expect([failure().code, failure().message]).toEqual(["CERTIFICATE_INVALID", expect.stringContaining("is not the key of")]);
  });

  it("refuses a certificate that has ended or is not in force yet, and an authority that is none", async () => {
    put(await issue(1, Date.now() - 2 * dayMs));
    expect([failure().code, failure().message]).toEqual([
      "CERTIFICATE_INVALID",
      expect.stringMatching(/certificate\.pem is in force from .* only/),
    ]);
    put(await issue(1, Date.now() + 2 * dayMs));
    expect(failure().code).toBe("CERTIFICATE_INVALID");
    put(server);
    write("authority.pem", server.certificate);
    expect([failure().code, failure().message]).toEqual(["CERTIFICATE_INVALID", expect.stringContaining("may not issue others")]);
    const ended = await createAuthority({ name: "old", days: 1, nowMs: Date.now() - 2 * dayMs });
    write("authority.pem", ended.certificate);
    expect(failure().code).toBe("CERTIFICATE_INVALID");
    write("authority.pem", ended.certificate + authority.certificate);
    expect(readTls(settings, folder).authority).toBe(ended.certificate + authority.certificate);
  });
});

describe("watched TLS files", () => {
  /** Watched by hand, with a clock of its own, and what is logged. */
  function watch(everyMs = 1e6) {
    const clock = { nowMs: Date.now() };
    const lines: string[] = [];
    const line = (level: string) => (facts: { err?: unknown }, text: string) => void lines.push(`${level} ${text} ${facts.err ?? ""}`);
    const logger = Object.assign(silentLogger(), { error: line("error"), warn: line("warn"), info: line("info") });
    const files: TlsFiles = watchTlsFiles({ settings, folder, logger, everyMs, now: () => clock.nowMs });
    return { files, lines, clock, [Symbol.dispose]: () => files[Symbol.dispose]() };
  }
  const far = () => issue(100);

  it("are taken anew when they change, and whoever listens is told once", async () => {
    put(await far());
    using watched = watch();
    let changes = 0;
    watched.files.onChange(() => changes++);
    watched.files.reread();
    expect(changes).toBe(0);
    const renewed = await far();
    put(renewed);
    watched.files.reread();
    watched.files.reread();
    expect([changes, watched.files.current.certificate]).toEqual([1, renewed.certificate]);
    expect(watched.lines).toEqual([expect.stringMatching(/^info took the renewed/)]);
  });

  it("are looked at by themselves", async () => {
    using watched = watch(5);
    const changed = new Promise<void>((resolve) => watched.files.onChange(resolve));
    put(await far());
    await changed;
  });

  it("stay what they were while new ones cannot be used, which is said once, and are taken when they are whole", async () => {
    const before = await far();
    put(before);
    using watched = watch();
    const renewed = await far();
    write("certificate.pem", renewed.certificate); // and not yet its key
    for (let i = 0; i < 3; i++) watched.files.reread();
    expect(watched.files.current).toMatchObject(before);
    expect(watched.lines).toEqual([expect.stringMatching(/^error .*stay in force .*is not the key of/)]);
    rmSync(join(folder, "key.pem"));
    watched.files.reread();
    expect(watched.lines[1]).toMatch(/FILE_MISSING/);
    write("key.pem", renewed.key);
    watched.files.reread();
    expect(watched.files.current).toMatchObject(renewed);
  });

  it("warn once a day from 14 days before the end, and tell of the end", async () => {
    put(await issue(15));
    using watched = watch();
    expect(watched.lines).toEqual([]);
    watched.clock.nowMs += 2 * dayMs;
    for (let i = 0; i < 3; i++) watched.files.reread();
    expect(watched.lines).toEqual([expect.stringMatching(/^warn the certificate ends soon/)]);
    watched.clock.nowMs += dayMs;
    watched.files.reread();
    expect(watched.lines).toHaveLength(2);
    watched.clock.nowMs += 20 * dayMs;
    watched.files.reread();
    expect(watched.lines.slice(2)).toEqual([
      expect.stringMatching(/CERTIFICATE_INVALID/),
      expect.stringMatching(/^error the certificate has ended/),
    ]);
    put(await issue(100, watched.clock.nowMs));
    watched.files.reread();
    watched.clock.nowMs += dayMs;
    watched.files.reread();
    expect(watched.lines.slice(4)).toEqual([expect.stringMatching(/^info took the renewed/)]);
  });
});
