import { hash, type KeyObject } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { isPipelineError } from "@smile/errors/pipeline-error";
import type { AuditLog } from "@smile/runtime/audit-log";
import { readDocument } from "@smile/runtime/document-file";
import { type FileLook, lookAtFile } from "@smile/runtime/file-look";
import type { Logger } from "@smile/runtime/logging";
import { verifyingKey } from "@smile/schemas/ed25519";
import { ServiceDocument } from "@smile/schemas/service-document";

/** The service document that the plant keeps, read again when it changes. */
export class ServiceFile {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #audit: AuditLog;
  /** How the file lay there when it was read last; undefined while it has to be read again. */
  #stamp: string | undefined;
  #document: ServiceDocument;
  #scoreSigners: readonly KeyObject[];
  readonly #listeners: (() => void)[] = [];

  /** @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID, naming the file; STORE_UNAVAILABLE from the audit log */
  constructor({ path, logger, audit }: { path: string; logger: Logger; audit: AuditLog }) {
    this.#path = path;
    this.#logger = logger;
    this.#audit = audit;
    const look = lookAtFile(path);
    const document = this.#read();
    this.#scoreSigners = this.#pin(document);
    this.#document = document;
    this.#stamp = stampOf(look);
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

  /**
   * Reads the file if it changed. One that cannot be read is logged, and what was read before stays in force. What may pass, such as an
   * audit log that somebody else writes to, is tried again at the next look.
   */
  refresh(): void {
    const look = lookAtFile(this.#path);
    if (look.stamp === this.#stamp) return;
    try {
      const document = this.#read();
      this.#stamp = stampOf(look);
      if (isDeepStrictEqual(document, this.#document)) return;
      this.#scoreSigners = this.#pin(document);
      this.#document = document;
      this.#logger.info({ signers: this.#scoreSigners.length }, "took the changed service document");
      for (const listener of this.#listeners) listener();
    } catch (error) {
      this.#stamp = isPipelineError(error) && error.retriable ? undefined : look.stamp;
      this.#logger.error({ err: error }, "the service document cannot be read; the one read before stays in force");
    }
  }

  #read(): ServiceDocument {
    return readDocument(ServiceDocument, this.#path, "service document");
  }

  #pin({ name, scoreSigners }: ServiceDocument): KeyObject[] {
    const keys = scoreSigners.map(verifyingKey);
    const hashes = scoreSigners.map((key) => hash("sha256", Buffer.from(key, "base64")));
    this.#audit.append("score-signers-pinned", { service: name, signers: hashes.join(",") });
    return keys;
  }
}

/** Of a file that was read; undefined when it may change again without a trace, so that it has to be read again. */
function stampOf({ stamp, settled }: FileLook): string | undefined {
  return settled ? stamp : undefined;
}
