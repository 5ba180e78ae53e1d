import { createPrivateKey, type KeyObject, type X509Certificate } from "node:crypto";
import { resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { Logger } from "./logging.ts";
import { readTextFile } from "./private-file.ts";
import { certificatesOf, isInForce } from "./tls-certificates.ts";
import type { TlsSettings } from "./tls-config.ts";

/** What one side of a TLS connection shows and whom it trusts, as PEM. */
export type TlsMaterial = {
  readonly certificate: string;
  readonly key: string;
  /** Whom the other side's certificate must come from; without it, for a client, whom the system trusts. */
  readonly authority?: string;
};

/** Material that may be renewed while it is in use. */
export interface TlsSource {
  readonly current: TlsMaterial;
  /** Calls the listener after each change. */
  onChange(listener: () => void): void;
}

/** Material that does not change. */
export function fixedTls(material: TlsMaterial): TlsSource {
  return { current: material, onChange: () => {} };
}

/** Files whose content is taken anew when it changes. */
export interface TlsFiles extends TlsSource, Disposable {
  /** Looks at the files now instead of at the next interval. What is wrong is logged; nothing is thrown. */
  reread(): void;
}

const dayMs = 86_400_000;
const soonMs = 14 * dayMs;

/**
 * Reads the PEM files of a `tls` section and checks that they can be used together.
 * @param settings paths; relative ones start from `folder`
 * @param what the section's name in errors
 * @throws {PipelineError} FILE_MISSING; FILE_DAMAGED for what is no PEM; CONFIG_INVALID for a key that others may read;
 *   CERTIFICATE_INVALID for a certificate that is not in force, belongs to another key, or an authority that is none. Each names its file
 */
export function readTls(settings: TlsSettings, folder: string, what = "tls", nowMs = Date.now()): TlsMaterial {
  const certificatePath = resolve(folder, settings.certificate);
  const certificate = readTextFile(certificatePath, `${what}.certificate`, null);
  const keyPath = resolve(folder, settings.key);
  const key = readTextFile(keyPath, `${what}.key`, "secret key");
  const [own] = parseCertificates(certificate, certificatePath, `${what}.certificate`);
  requireInForce(own!, certificatePath, `${what}.certificate`, nowMs);
  if (!own!.checkPrivateKey(parseKey(key, keyPath, `${what}.key`))) {
    const facts = { path: keyPath, certificate: certificatePath };
    throw new PipelineError("CERTIFICATE_INVALID", `${what}.key: ${keyPath} is not the key of ${certificatePath}`, facts);
  }
  if (settings.authority === undefined) return { certificate, key };
  const authorityPath = resolve(folder, settings.authority);
  const authority = readTextFile(authorityPath, `${what}.authority`, null);
  const authorities = parseCertificates(authority, authorityPath, `${what}.authority`);
  if (authorities.some(({ ca }) => !ca)) {
    const facts = { path: authorityPath };
    throw new PipelineError(
      "CERTIFICATE_INVALID",
      `${what}.authority: ${authorityPath} holds a certificate that may not issue others`,
      facts,
    );
  }
  // An authority that is being replaced stands beside its successor until it has ended.
  const first = authorities.find((each) => isInForce(each, nowMs)) ?? authorities[0]!;
  requireInForce(first, authorityPath, `${what}.authority`, nowMs);
  return { certificate, key, authority };
}

/**
 * Reads the files of a `tls` section, and again whenever their content changes. A change that cannot be used is logged, and what was
 * read before stays in force. From 14 days before the certificate's end a warning comes once a day.
 * @param options.everyMs how often to look; default 5 s
 * @throws {PipelineError} as `readTls`, for the first reading
 */
export function watchTlsFiles(options: {
  readonly settings: TlsSettings;
  readonly folder: string;
  readonly logger: Logger;
  readonly what?: string;
  readonly everyMs?: number;
  readonly now?: () => number;
}): TlsFiles {
  const { settings, folder, logger, what = "tls", everyMs = 5000, now = Date.now } = options;
  const listeners: (() => void)[] = [];
  let current = readTls(settings, folder, what, now());
  let complaint: string | undefined;
  let warnedMs = Number.NEGATIVE_INFINITY;

  const warnOfEnd = () => {
    const endsMs = certificatesOf(current.certificate)[0]!.validToDate.getTime();
    const nowMs = now();
    if (endsMs - nowMs > soonMs || nowMs - warnedMs < dayMs) return;
    warnedMs = nowMs;
    const facts = { path: resolve(folder, settings.certificate), ends: new Date(endsMs).toISOString() };
    if (nowMs > endsMs) logger.error(facts, "the certificate has ended: others refuse it");
    else logger.warn(facts, "the certificate ends soon: renew it");
  };
  const reread = () => {
    try {
      const found = readTls(settings, folder, what, now());
      complaint = undefined;
      if (found.certificate === current.certificate && found.key === current.key && found.authority === current.authority) return;
      current = found;
      warnedMs = Number.NEGATIVE_INFINITY;
      logger.info({ path: resolve(folder, settings.certificate) }, "took the renewed TLS files");
      for (const listener of listeners) listener();
    } catch (error) {
      // The same complaint at every look says nothing new.
      if (String(error) !== complaint) logger.error({ err: error }, "TLS files cannot be used; those read before stay in force");
      complaint = String(error);
    } finally {
      warnOfEnd();
    }
  };
  warnOfEnd();
  const timer = setInterval(reread, everyMs);
  timer.unref();

  return {
    get current() {
      return current;
    },
    onChange: (listener) => void listeners.push(listener),
    reread,
    [Symbol.dispose]() {
      clearInterval(timer);
      listeners.length = 0;
    },
  };
}

function parseCertificates(pem: string, path: string, what: string): X509Certificate[] {
  try {
    const found = certificatesOf(pem);
    if (found.length > 0) return found;
  } catch {
    // Told below: the parser's words help nobody.
  }
  throw new PipelineError("FILE_DAMAGED", `${what}: ${path} holds no certificate in PEM form`, { path });
}

/** Without a cause in its error: that one may quote the key. */
function parseKey(pem: string, path: string, what: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new PipelineError("FILE_DAMAGED", `${what}: ${path} holds no secret key in PEM form without a passphrase`, { path });
  }
}

function requireInForce(certificate: X509Certificate, path: string, what: string, nowMs: number): void {
  if (isInForce(certificate, nowMs)) return;
  const { validFromDate, validToDate } = certificate;
  const when = `from ${validFromDate.toISOString()} to ${validToDate.toISOString()}`;
  throw new PipelineError("CERTIFICATE_INVALID", `${what}: ${path} is in force ${when} only`, { path });
}
