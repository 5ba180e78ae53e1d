import { createDecipheriv, hash, scryptSync } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { readSealed, SCRYPT_COST, writeSealed } from "../src/sealed-file.ts";
import { codeOf } from "./code-of.ts";

const folder = mkdtempSync(join(tmpdir(), "smile-sealed-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const cost = 2 ** 10;
const passphrase = "nine winter geese";
const document = { name: "plant-1", secret: "never-to-be-seen-in-the-clear" };
const Document = z.strictObject({ name: z.string(), secret: z.string() });
const seal = async (name: string, value: unknown = document) => {
  const path = join(folder, name);
  await writeSealed(path, "plant-secrets", value, passphrase, { cost });
  return path;
};
const open = (path: string, words = passphrase, holds = "plant-secrets") => readSealed(path, holds, Document, words);
const plant = (name: string, content: unknown) => {
  const path = join(folder, name);
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content), { mode: 0o600 });
  return path;
};

type File = {
  kind: string;
  version: number;
  holds: string;
  kdf: { name: string; cost: number; blockSize: number; parallelization: number; salt: string };
  nonce: string;
  check: string;
  ciphertext: string;
  digest: string;
};
const fileAt = (path: string): File => JSON.parse(readFileSync(path, "utf8"));
/** The header as the format has it: what is authenticated, and what the digest begins with. */
const headerOf = ({ kind, version, holds, kdf, nonce, check }: File) =>
  JSON.stringify([kind, version, holds, kdf.name, kdf.cost, kdf.blockSize, kdf.parallelization, kdf.salt, nonce, check]);
/** What somebody does who changes a file and knows the format. */
const mended = (file: File): File => ({ ...file, digest: hash("sha256", `${headerOf(file)}\n${file.ciphertext}`, "base64") });

describe("sealed file", () => {
  it("gives its document back, only its owner may read it, and nothing in it is in the clear", async () => {
    const path = await seal("whole.json");
    expect(await open(path)).toEqual(document);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const text = readFileSync(path, "utf8");
    for (const encoding of ["utf8", "base64", "hex"] as const) {
      expect(text).not.toContain(Buffer.from(document.secret).toString(encoding).slice(0, 24));
      expect(text).not.toContain(Buffer.from(passphrase).toString(encoding).slice(0, 16));
    }
  });

  it("is scrypt and AES-256-GCM as they are published: another program opens it from what the file says", async () => {
    const file = fileAt(await seal("format.json"));
    const { kdf } = file;
    const output = scryptSync(passphrase, Buffer.from(kdf.salt, "base64"), 64, { N: kdf.cost, r: kdf.blockSize, p: kdf.parallelization });
    expect(file.check).toBe(hash("sha256", output.subarray(32), "base64"));
    const sealed = Buffer.from(file.ciphertext, "base64");
    const decipher = createDecipheriv("aes-256-gcm", output.subarray(0, 32), Buffer.from(file.nonce, "base64"));
    decipher.setAAD(Buffer.from(headerOf(file))).setAuthTag(sealed.subarray(-16));
    expect(JSON.parse(`${decipher.update(sealed.subarray(0, -16))}${decipher.final()}`)).toEqual(document);
    expect(mended(file)).toEqual(file);
  });

  it("costs what OWASP recommends when nothing else is said, and the program goes on meanwhile", async () => {
    const path = join(folder, "dear.json");
    let turns = 0;
    const turning = setInterval(() => (turns += 1), 1);
    await writeSealed(path, "plant-secrets", document, passphrase);
    expect(await open(path)).toEqual(document);
    clearInterval(turning);
    expect(fileAt(path).kdf).toMatchObject({ name: "scrypt", cost: 131_072, blockSize: 8, parallelization: 1 });
    expect(SCRYPT_COST).toBe(131_072);
    expect(turns).toBeGreaterThan(10);
  });

  it("shares neither salt, nonce nor ciphertext with another file of the same document", async () => {
    const [a, b] = [fileAt(await seal("a.json")), fileAt(await seal("b.json"))];
    for (const field of ["nonce", "check", "ciphertext"] as const) expect(a[field]).not.toBe(b[field]);
    expect(a.kdf.salt).not.toBe(b.kdf.salt);
  });

  it("opens with a passphrase that another keyboard composes differently", async () => {
    const path = join(folder, "accents.json");
    await writeSealed(path, "plant-secrets", document, "h\u00e9ron gris", { cost });
    expect(await open(path, "he\u0301ron gris")).toEqual(document);
  });

  it("replaces a file only when told so, and leaves nothing else behind", async () => {
    const path = await seal("once.json");
    const before = readFileSync(path, "utf8");
    expect(await codeOf(() => seal("once.json"))).toBe("CONFIG_INVALID");
    expect(readFileSync(path, "utf8")).toBe(before);
    await writeSealed(path, "plant-secrets", { ...document, name: "plant-2" }, passphrase, { cost, replace: true });
    expect((await open(path)).name).toBe("plant-2");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    expect(await codeOf(() => writeSealed(path, "plant-secrets", document, "", { cost, replace: true }))).toBe("PASSPHRASE_MISSING");
  });
});

describe("a sealed file is refused", () => {
  let path: string;
  let text: string;
  beforeAll(async () => {
    path = await seal("sound.json");
    text = readFileSync(path, "utf8");
  });

  it("with any other passphrase, by PASSPHRASE_WRONG", async () => {
    const others = fc.string({ unit: "grapheme" }).filter((words) => words.normalize("NFKC") !== passphrase);
    await fc.assert(
      fc.asyncProperty(others, async (words) => {
        expect(await codeOf(() => open(path, words))).toBe("PASSPHRASE_WRONG");
      }),
      { numRuns: 40, seed: 41, examples: [[""], [`${passphrase} `], [passphrase.toUpperCase()]] },
    );
  });

  it("with any bit changed or any end cut off, and never as if the passphrase were wrong", async () => {
    const bytes = Buffer.from(text);
    const change = fc.record({ at: fc.nat(bytes.length - 1), bit: fc.nat(7) });
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(change, fc.boolean(), async ({ at, bit }, cut) => {
        const changed = cut ? bytes.subarray(0, at) : Buffer.from(bytes);
        if (!cut) changed[at]! ^= 1 << bit;
        const damaged = join(folder, "damaged.json");
        writeFileSync(damaged, changed, { mode: 0o600 });
        const code = await codeOf(() => open(damaged));
        // Only the closing newline may go without loss.
        if (cut && at >= bytes.length - 1) return;
        seen.add(code);
        // A file whose `kind` is gone says so.
        expect(code === "FILE_DAMAGED" || (code === "DOCUMENT_INVALID" && !changed.includes('"kind": "sealed"'))).toBe(true);
      }),
      { numRuns: 400, seed: 42 },
    );
    expect(seen).toContain("FILE_DAMAGED");
  });

  it("when somebody changed it and mended its digest: text, header or what it is said to hold", async () => {
    const file = fileAt(path);
    const sealed = Buffer.from(file.ciphertext, "base64");
    sealed[3]! ^= 1;
    const forged: Partial<File>[] = [
      { ciphertext: sealed.toString("base64") },
      { ciphertext: sealed.subarray(0, 20).toString("base64") },
      { ciphertext: "" },
      { nonce: Buffer.alloc(12).toString("base64") },
    ];
    for (const change of forged)
      expect(await codeOf(() => open(plant("forged.json", mended({ ...file, ...change }))))).toBe("FILE_DAMAGED");
    const renamed = plant("renamed.json", mended({ ...file, holds: "keystore" }));
    expect(await codeOf(() => open(renamed, passphrase, "keystore"))).toBe("FILE_DAMAGED");
    expect(await codeOf(() => open(path, passphrase, "keystore"))).toBe("DOCUMENT_INVALID");
  });

  it("when its cost is out of bounds, before any of it is spent", async () => {
    const file = fileAt(path);
    const costly = [
      { cost: 2 ** 40 },
      { cost: 2 ** 19 },
      { cost: 3 * 2 ** 10 },
      { cost: 2 },
      { blockSize: 2 ** 20 },
      { parallelization: 2 ** 20 },
    ];
    for (const change of costly) {
      const planted = plant("costly.json", mended({ ...file, kdf: { ...file.kdf, ...change } }));
      await expect(open(planted)).rejects.toThrow(new RegExp(`kdf\\.${Object.keys(change)[0]}.*FILE_DAMAGED`));
    }
  });

  it("when it is missing, no JSON, not sealed, holds another shape, or others may read it", async () => {
    expect(await codeOf(() => open(join(folder, "nowhere.json")))).toBe("FILE_MISSING");
    expect(await codeOf(() => open(plant("text.json", "nine geese")))).toBe("FILE_DAMAGED");
    for (const plain of [null, [], "sealed", { kind: "keystore", version: 1, plant: "plant-1", keys: [] }])
      await expect(open(plant("plain.json", JSON.stringify(plain)))).rejects.toThrow(/smile plant init.*DOCUMENT_INVALID/);
    const other = await seal("other.json", { name: 7 });
    await expect(open(other)).rejects.toThrow(/name: .*DOCUMENT_INVALID/);
    if (process.platform === "win32") return;
    for (const mode of [0o640, 0o604, 0o644, 0o602]) {
      chmodSync(path, mode);
      expect(await codeOf(() => open(path))).toBe("CONFIG_INVALID");
    }
    chmodSync(path, 0o400);
    expect(await codeOf(() => open(path))).toBe("accepted");
    chmodSync(path, 0o600);
  });

  it("without a word of its secrets in the error", async () => {
    const file = fileAt(path);
    const other = await seal("secret-shape.json", { name: 7, secret: document.secret });
    const refused = [
      () => open(path, "nine summer geese"),
      () => open(plant("shape.json", { ...file, nonce: 1 })),
      () => open(plant("bits.json", mended({ ...file, ciphertext: `AAAA${file.ciphertext.slice(4)}` }))),
      () => open(other),
    ];
    for (const work of refused) {
      const told = await work().then(
        () => "accepted",
        (error: Error) => inspect(error, { depth: 9 }),
      );
      expect(told).toContain(folder);
      for (const secret of [document.secret, passphrase, "nine summer geese"]) expect(told).not.toContain(secret);
    }
  });
});
