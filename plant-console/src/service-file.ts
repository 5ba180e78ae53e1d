import { hash, type KeyObject } from "node:crypto";
import type { AuditLog } from "@smile/runtime/audit-log";
import { readDocument } from "@smile/runtime/document-file";
import { lookAtFile } from "@smile/runtime/file-look";
import type { Logger } from "@smile/runtime/logging";
import { verifyingKey } from "@smile/schemas/ed25519";
import { ServiceDocument } from "@smile/schemas/service-document";

/** The service document that the plant keeps, read again when it changes. */
export class ServiceFile {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #audit: AuditLog;
  #stamp: string;
  #document: ServiceDocument;
  #scoreSigners: readonly KeyObject[];
  readonly #listeners: (() => void)[] = [];

  /** @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID, naming the file; STORE_UNAVAILABLE from the audit log */
  constructor({ path, logger, audit }: { path: string; logger: Logger; audit: AuditLog }) {
    this.#path = path;
    this.#logger = logger;
    this.#audit = audit;
    this.#stamp = lookAtFile(path).stamp;
    this.#document = readDocument(ServiceDocument, path, "service document");
    this.#scoreSigners = this.#pin();
  }

  get document(): ServiceDocument {
    return this.#document;
  }

  /** Whose signatures count on scores. */
  get scoreSigners(): readonly KeyObject[] {
    return this.#scoreSigners;
  }

  /** Calls the listener after each change. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Reads the file if it changed. One that cannot be read is logged, and what was read before stays in force. */
  refresh(): void {
    const stamp = lookAtFile(this.#path).stamp;
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    try {
      this.#document = readDocument(ServiceDocument, this.#path, "service document");
      this.#scoreSigners = this.#pin();
      this.#logger.info({ signers: this.#scoreSigners.length }, "took the changed service document");
      for (const listener of this.#listeners) listener();
    } catch (error) {
      this.#logger.error({ err: error }, "the service document cannot be read; the one read before stays in force");
    }
  }

  #pin(): KeyObject[] {
    const { name, scoreSigners } = this.#document;
    const hashes = scoreSigners.map((key) => hash("sha256", Buffer.from(key, "base64")));
    this.#audit.append("score-signers-pinned", { service: name, signers: hashes.join(",") });
    return scoreSigners.map(verifyingKey);
  }
}
