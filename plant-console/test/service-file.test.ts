import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, renameSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { AuditLog } from "@smile/runtime/audit-log";
import { silentLogger } from "@smile/runtime/logging";
import { publicHalf } from "@smile/schemas/ed25519";
import { expect, it } from "vitest";
import { ServiceFile } from "../src/service-file.ts";
import { serviceDocument } from "./fixture-files.ts";

const [first, second] = [0, 1].map(() => publicHalf(generateKeyPairSync("ed25519").privateKey));

/** A service document with one signer, and an audit log that can be told to fail. */
function open() {
  const path = join(mkdtempSync(join(tmpdir(), "smile-service-")), "service.json");
  const write = (value: unknown) => {
    writeFileSync(`${path}.draft`, JSON.stringify(value));
    renameSync(`${path}.draft`, path);
  };
  write(serviceDocument([first!]));
  const state = { failing: false, pinned: 0, told: 0 };
  const append: AuditLog["append"] = () => {
    if (state.failing) throw new PipelineError("STORE_UNAVAILABLE", "the audit log is busy");
    state.pinned++;
  };
  const file = new ServiceFile({ path, logger: silentLogger(), audit: { append } as AuditLog });
  file.onChange(() => state.told++);
  return { file, write, state, signers: () => file.scoreSigners.map(publicHalf) };
}

it("tries a changed document again when it could not be recorded, and until then the one before is in force as a whole", () => {
  const { file, write, state, signers } = open();
  state.failing = true;
  write(serviceDocument([first!, second!]));
  file.refresh();
  expect(signers()).toEqual([first]);
  expect(file.document.scoreSigners).toEqual([first]);
  state.failing = false;
  file.refresh();
  expect(signers()).toEqual([first, second]);
  expect(state).toMatchObject({ pinned: 2, told: 1 });
});

it("tells nobody of a file that was written again as it was", () => {
  const { file, write, state } = open();
  write(serviceDocument([first!]));
  file.refresh();
  file.refresh();
  expect(state).toMatchObject({ pinned: 1, told: 0 });
});

it("goes on with the document before one that makes no sense, and takes the next that does", () => {
  const { file, write, state, signers } = open();
  write({ kind: "service" });
  file.refresh();
  expect(signers()).toEqual([first]);
  write(serviceDocument([second!]));
  file.refresh();
  expect(signers()).toEqual([second]);
  expect(state.told).toBe(1);
});
