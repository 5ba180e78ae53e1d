import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readKeystore } from "@smile/custody/keystore";
import { plantPaths } from "@smile/custody/plant/paths";
import type { KeyMode } from "@smile/he/params";
import { integerScores } from "@smile/model-service/training/quantise-head";
import { paramsFromDocument } from "@smile/schemas/params-document";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { diceOf } from "./fuzz/mutate.ts";
import { pick } from "./hostile/case.ts";
import { secret, text, wholeNumber } from "./operator-view/forms.ts";
import { SEAL_HEADER_BYTES, secretCoefficients } from "./operator-view/key-sentinels.ts";
import { reachableFrom } from "./operator-view/module-graph.ts";
import { SERVICES } from "./operator-view/operator.ts";
import { PASSPHRASE } from "./operator-view/plant.ts";
import { type Run, runPlantAndOperator } from "./operator-view/run.ts";
import { type Finding, SentinelSearch } from "./operator-view/search.ts";
import { TEXT_WRAPPERS, type Way, WRAPPERS, waysToWrite } from "./operator-view/ways-to-write.ts";
import { temporaryFolder } from "./support/small-deployment.ts";
import { ROOT } from "./support/smile-process.ts";

/**
 * What the operator sees, searched. Looked at is every byte of its folder (log with its write-ahead log, audit log, documents, configurations,
 * kept registers), what its services wrote at the most talkative level, their health and metrics, their time series, and all that brokers and
 * clients told each other once TLS was taken off. Not looked at: memory of its processes, times and sizes of what it is sent (those tell when
 * machines run), and a Kafka log in place of the file.
 */
const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
/** By key mode: in symmetric mode each gateway has a secret key of its own. */
let runs: Readonly<Record<KeyMode, Run>>;
let run: Run;
let search: SentinelSearch;
let leaking: Run;
beforeAll(async () => {
  const at = (name: string) => join(folder.path, name);
  const mistakes = { scheme: "identity", consoleWritesToOperator: true, carriesGateway: "hall-2", namesMachine: "hall-1" } as const;
  // Side by side: most of a run is waiting.
  const [open, symmetric, leaks] = await Promise.all([
    runPlantAndOperator(at("public")),
    runPlantAndOperator(at("symmetric"), { keyMode: "symmetric" }),
    runPlantAndOperator(at("leaking"), mistakes),
  ]);
  runs = { public: open, symmetric };
  run = open;
  leaking = leaks;
  search = new SentinelSearch(run.sentinels);
}, 120_000);

const KEY_MODES = ["public", "symmetric"] as const;
const told = (findings: readonly Finding[]) =>
  findings.map(({ sentinel: { kind, form }, place, at }) => `${kind} as ${form}: ${place}, ${at}`);

describe("after a plant has sent its telemetry and read its scores", () => {
  it.each(KEY_MODES)(
    "the plant had a risk of each window, with the score that its features have without encryption, %s keys",
    (keyMode) => {
      const { risks, telemetry, deployed } = runs[keyMode];
      const expected = [...telemetry.windows.values()].flat().map(({ machine, endMs, features }) => {
        return { machine, frameTimeMs: endMs, score: integerScores(deployed.heads[0]!, features)[0]! };
      });
      const seen = risks.map(({ machine, frameTimeMs, score }) => ({ machine, frameTimeMs, score }));
      const order = (each: { machine: string; frameTimeMs: number }) => `${each.machine} ${each.frameTimeMs}`;
      expect(expected).toHaveLength(72);
      expect(seen.toSorted((a, b) => order(a).localeCompare(order(b)))).toEqual(
        expected.toSorted((a, b) => order(a).localeCompare(order(b))),
      );
      for (const { score } of risks) expect(score).toBeGreaterThanOrEqual(1e6);
    },
  );

  it.each(KEY_MODES)(
    "the operator has no machine name, no reading, feature, score or risk, and no key, in any form, %s keys",
    (keyMode) => {
      const { sentinels, artefacts } = runs[keyMode];
      expect(told(new SentinelSearch(sentinels).search(artefacts))).toEqual([]);
      expect(sentinels.length).toBeGreaterThan(50_000);
    },
  );

  it("and all of it was looked at: what the operator must have is found by the same search, wherever it must be", async () => {
    const { keys } = await readKeystore(plantPaths(run.plantFolder).keystore, PASSPHRASE);
    const { frame } = run;
    const known = new SentinelSearch([
      text("gateway", "hall-1"),
      text("metric", "frames_refused_total"),
      text("log line", "refused a frame"),
      text("dead letter", "no envelope at all"),
      text("audit entry", "register-taken"),
      ...secret("public key", Buffer.from(keys[0]!.publicKey, "base64").subarray(113)),
      ...secret("ciphertext", frame.ciphertext),
    ]).search(run.artefacts);
    const places = (kind: string) =>
      new Set(known.filter(({ sentinel }) => sentinel.kind === kind).map(({ place }) => place.replace(/ > .*/, "")));
    expect(places("gateway")).toEqual(
      new Set([
        ...["broker of frames: from hall-1", "broker of frames: certificate of hall-1", "broker of scores: to console"],
        ...["log.db-wal in use", "log.db at the end", "rows of log.db", "stream-processor standard error"],
        ...["register.json in use", "register.json.taken in use", "register.json at the end", "register.json.taken at the end"],
      ]),
    );
    expect(places("metric")).toEqual(new Set(["stream-processor /metrics", "time series"]));
    expect(places("log line")).toEqual(new Set(["stream-processor standard error"]));
    expect(places("dead letter")).toEqual(
      new Set(["broker of frames: from hall-1", "log.db-wal in use", "log.db at the end", "rows of log.db"]),
    );
    expect(places("audit entry")).toEqual(new Set(["audit.db-wal in use", "audit.db at the end", "rows of audit.db"]));
    expect(places("public key")).toEqual(new Set([...places("gateway")].filter((place) => place.startsWith("register"))));
    expect(places("ciphertext")).toEqual(
      // The last one was sent a second time by hall-1, changed.
      new Set([
        `broker of frames: from ${frame.gateway}`,
        "broker of frames: from hall-1",
        "log.db-wal in use",
        "log.db at the end",
        "rows of log.db",
      ]),
    );
  });

  it.skipIf(!existsSync("/proc/self/fd"))("the operator's processes have files open in its folder only", () => {
    const { openFiles, operatorFolder } = run;
    expect(openFiles.filter((file) => file.endsWith("log.db-wal")).length).toBeGreaterThanOrEqual(2);
    expect(openFiles.filter((file) => !file.startsWith(`${operatorFolder}/`))).toEqual([]);
  });
});

describe("the search", () => {
  let ways: readonly Way[];
  beforeAll(async () => {
    ways = await waysToWrite(run);
  });
  const isText = (bytes: Buffer) => bytes.every((byte) => byte > 0 && byte < 0x80);

  /** A piece of what the operator really has, with something in it that it must not have. */
  function planted(bytes: Buffer, seed: number): Buffer {
    const dice = diceOf(seed);
    const host = pick(
      run.artefacts.filter((each) => each.bytes.length > 100),
      dice,
    ).bytes;
    const from = dice(host.length);
    const piece = host.subarray(from, from + 1024);
    const at = dice(piece.length + 1);
    return Buffer.concat([piece.subarray(0, at), bytes, piece.subarray(at)]);
  }
  const kindsIn = (bytes: Buffer) => search.search([{ name: "planted", bytes }]).map(({ sentinel: { kind } }) => kind);

  it("finds everything in every form in which somebody may write it, at random places of what the operator has", () => {
    const missed: string[] = [];
    ways.forEach(({ kind, way, write }, i) => {
      Object.entries({ ...WRAPPERS, ...TEXT_WRAPPERS }).forEach(([around, wrap], j) => {
        const seed = 1000 * i + j;
        const bytes = write(diceOf(seed));
        if (around in TEXT_WRAPPERS && !isText(bytes)) return;
        if (!kindsIn(planted(wrap(bytes), seed)).includes(kind)) missed.push(`${kind} as ${way} in ${around}, ${seed}`);
      });
    });
    expect(missed).toEqual([]);
    expect(ways.length).toBeGreaterThan(60);
  });

  it("finds it as well when one form is within another", () => {
    const wrapper = fc.constantFrom(...Object.keys(WRAPPERS));
    const property = fc.property(fc.nat(ways.length - 1), wrapper, wrapper, fc.nat(), (way, inner, outer, seed) => {
      const { kind, write } = ways[way]!;
      expect(kindsIn(planted(WRAPPERS[outer]!(WRAPPERS[inner]!(write(diceOf(seed)))), seed))).toContain(kind);
    });
    fc.assert(property, { seed: 4, numRuns: 150 });
  });

  it("does not look for what chance would find: a score in 32 bits alone", () => {
    const alone = { kind: "score", form: "int32 little endian", bytes: Buffer.from([1, 2, 3, 4]) };
    expect(() => new SentinelSearch([alone])).toThrow(RangeError);
  });

  it("takes digits for a score only where they are a whole number", () => {
    const numbers = new SentinelSearch([wholeNumber("score", 1_234_567)]);
    const isFound = (written: string) => numbers.search([{ name: "text", bytes: Buffer.from(written) }]).length > 0;
    for (const written of ["1234567", '{"score":1234567}', "cost=-1234567i 17", "1234567.0"]) expect(isFound(written), written).toBe(true);
    for (const written of ["11234567", "12345678", "0.1234567"]) expect(isFound(written), written).toBe(false);
  });

  it("knows the secret's coefficients: they are -1, 0 and 1, and their polynomial has the values that SEAL keeps", async () => {
    const { keys } = await readKeystore(plantPaths(run.plantFolder).keystore, PASSPHRASE);
    const saved = Buffer.from(keys[0]!.secretKey, "base64");
    const params = paramsFromDocument(run.deployed.deployment.params);
    const { n, q } = params;
    const coefficients = await secretCoefficients(saved, params);
    expect(new Set(coefficients)).toEqual(new Set([-1, 0, 1]));
    const values = new Set(Array.from({ length: n }, (_, i) => saved.readBigUInt64LE(SEAL_HEADER_BYTES + 8 * i)));
    const power = (base: bigint, exponent: bigint): bigint => {
      if (exponent === 0n) return 1n;
      const half = power((base * base) % q, exponent / 2n);
      return exponent % 2n === 1n ? (half * base) % q : half;
    };
    // A root of X^N + 1: a number to the power of (q - 1) / 2N whose N-th power is -1.
    const root = [2n, 3n, 5n, 7n, 11n, 13n, 17n, 19n]
      .map((g) => power(g, (q - 1n) / BigInt(2 * n)))
      .find((r) => power(r, BigInt(n)) === q - 1n)!;
    for (const odd of [1n, 3n, 1001n]) {
      const x = power(root, odd);
      const value = coefficients.reduceRight((sum, s) => (sum * x + BigInt(s) + q) % q, 0n);
      expect(values.has(value)).toBe(true);
    }
  });
});

describe("a plant whose people make mistakes", () => {
  it("is seen to have told the operator features, machines, risks and keys, and where they lie", () => {
    const findings = new SentinelSearch(leaking.sentinels).search(leaking.artefacts);
    const places = (kind: string) =>
      new Set(findings.filter(({ sentinel }) => sentinel.kind === kind).map(({ place }) => place.replace(/ > .*/, "")));
    const frames = [
      "broker of frames: from hall-1",
      "broker of frames: from hall-2",
      "log.db-wal in use",
      "log.db at the end",
      "rows of log.db",
    ];
    for (const place of frames) expect(places("features")).toContain(place);
    expect(places("risk")).toEqual(new Set(["time series"]));
    expect(places("machine name")).toEqual(
      new Set(["time series", "broker of frames: from hall-1", "question/lease.json in use", "question/lease.json at the end"]),
    );
    const key = "signing key of hall-2";
    expect(places(key)).toEqual(new Set(["question/signing-key.json in use", "question/signing-key.json at the end"]));
    expect(places("TLS key of hall-2")).toEqual(new Set(["question/key.pem in use", "question/key.pem at the end"]));
    expect(places("signing key of hall-1")).toEqual(new Set());
  });
});

describe("decryption and the operator's programs", () => {
  it.each(SERVICES)("%s runs where custody is not installed, and cannot import it there", (service) => {
    const from = createRequire(join(run.installation, service, "src/main.ts"));
    expect(existsSync(from.resolve("@smile/he/open"))).toBe(true);
    expect(() => from.resolve("@smile/custody/decryptor")).toThrow(/Cannot find module/);
  });

  it.each(SERVICES)("%s loads its own packages, and nothing of the plant's, at run time or ever", (service) => {
    const loaded = run.modules.get(service)!.filter((url) => url.startsWith("file:"));
    const files = loaded.map((url) => fileURLToPath(url));
    const own = files.filter((file) => file.startsWith(run.installation)).map((file) => file.slice(run.installation.length + 1));
    expect(own).toContain(`${service}/src/main.ts`);
    const reachable = [...reachableFrom(join(ROOT, service, "src/main.ts"))].map((file) => file.slice(ROOT.length));
    // What was really loaded is within what can be: the walk sees each import.
    expect(own.filter((file) => !reachable.includes(file))).toEqual([]);
    const homes = new Set(reachable.map((file) => file.split("/")[0]));
    expect([...homes].sort()).toEqual(["errors", "features", "he", "runtime", "schemas", service].sort());
    const others = files.filter((file) => !file.startsWith(run.installation) && !file.includes("/node_modules/"));
    expect(others).toEqual([]);
    // The one module that touches SEAL never says the name of what decrypts.
    const sources = reachable.map((file) => readFileSync(join(ROOT, file), "utf8"));
    expect(sources.filter((source) => /\bDecryp[t]or\b/.test(source))).toEqual([]);
  });

  it("the walk finds custody where it is: in the plant's console", () => {
    const reachable = [...reachableFrom(join(ROOT, "plant-console/src/main.ts"))];
    expect(reachable).toContain(join(ROOT, "custody/src/decryptor.ts"));
  });
});
