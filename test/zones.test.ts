import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";

/**
 * Trust zones and the direction of imports, by manifest and by source: who can decrypt is a question that a reader of package.json
 * files must be able to answer.
 */
const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Imports point down this list; packages of one line do not know each other. */
const LAYERS = [
  ["errors"],
  ["features", "he", "compose/kafka-local"],
  ["schemas"],
  ["identity", "runtime"],
  ["custody"],
  ["edge-agent", "stream-processor", "model-service", "plant-console", "simulators"],
  ["cli"],
];
const layerOf = (name: string) => LAYERS.findIndex((layer) => layer.includes(name));

type Manifest = { name: string; dependencies?: Record<string, string>; devDependencies?: Record<string, string>; workspaces?: string[] };
const manifestOf = (name: string): Manifest => JSON.parse(readFileSync(join(ROOT, name, "package.json"), "utf8"));
const packages = manifestOf(".").workspaces!;
const listed = (name: string) => Object.keys({ ...manifestOf(name).dependencies, ...manifestOf(name).devDependencies });

type Source = { readonly path: string; readonly home: string; readonly text: string };
/** Program files of every package, tests and this folder included. */
const sources: Source[] = [...packages, "test", "bench"]
  .filter((home) => existsSync(join(ROOT, home)))
  .flatMap((home) =>
    readdirSync(join(ROOT, home), { recursive: true, encoding: "utf8" })
      .filter((file) => /\.(ts|js|mjs|cjs)$/.test(file) && !file.split(sep).includes("node_modules"))
      .map((file) => ({ path: `${home}/${file}`, home, text: readFileSync(join(ROOT, home, file), "utf8") })),
  );
const programs = sources.filter(({ path, home }) => path.startsWith(`${home}/src/`));

/** Modules that a file names in imports and exports, dynamic ones too. */
const importsOf = (text: string) =>
  Array.from(text.matchAll(/(?:from\s+|import\s+|import\s*\(\s*|import\.meta\.resolve\(\s*)["']([^"']+)["']/g), ([, module]) => module!);
const importers = (pattern: RegExp, among: readonly Source[]) =>
  [...new Set(among.filter(({ text }) => importsOf(text).some((module) => pattern.test(module))).map(({ home }) => home))].sort();

describe("trust zones", () => {
  it("only the plant's side lists or imports the package that decrypts", () => {
    expect(packages.filter((name) => listed(name).includes("@smile/custody")).sort()).toEqual(["cli", "plant-console"]);
    for (const home of importers(/^@smile\/custody(\/|$)/, sources))
      expect(["cli", "plant-console", "custody", "test", "bench"]).toContain(home);
    expect(importers(/custody\/src/, sources)).toEqual([]);
  });

  it("only the arithmetic and custody list or touch SEAL", () => {
    expect(packages.filter((name) => listed(name).includes("node-seal")).sort()).toEqual(["custody", "he"]);
    // It stands between the evaluator and SEAL, to see what SEAL is given to load.
    const watching = "model-service/test/hostile-batches.test.ts";
    // It makes the keys of ten thousand plants in one instance of SEAL, for a bench.
    const plants = "bench/topology/many-plants.ts";
    // It times one step of SEAL's by itself, for a bench.
    const timing = "bench/suites/inverse-ntt.ts";
    const others = sources.filter(({ path }) => ![watching, plants, timing].includes(path));
    for (const home of importers(/^node-seal|^@smile\/he\/seal-/, others)) expect(["custody", "he"]).toContain(home);
  });

  it("nothing outside custody names SEAL's decryptor or reads noise with the secret key", () => {
    const outside = sources.filter(({ home, path }) => home !== "custody" && path !== "test/zones.test.ts");
    const offenders = outside.filter(({ text }) => /\bDecryptor\b|invariantNoiseBudget/.test(text)).map(({ path }) => path);
    expect(outside.length).toBeGreaterThan(50);
    expect(offenders).toEqual([]);
  });

  it("edge agent, stream processor and model service have no way to custody through what they depend on", () => {
    const reach = (name: string, seen = new Set<string>()): Set<string> => {
      for (const dependency of listed(name).filter((d) => d.startsWith("@smile/"))) {
        const next = dependency.slice("@smile/".length);
        if (!seen.has(next)) reach(next, seen.add(next));
      }
      return seen;
    };
    for (const service of ["edge-agent", "stream-processor", "model-service", "simulators"])
      expect([...reach(service)]).not.toContain("custody");
  });
});

describe("direction of imports", () => {
  it("every package has its place in the layers", () => {
    expect(LAYERS.flat().sort()).toEqual([...packages].sort());
  });

  it.each(packages)("%s lists and imports only packages of lower layers", (name) => {
    const dependencies = listed(name).filter((dependency) => dependency.startsWith("@smile/"));
    const imported = programs.filter(({ home }) => home === name).flatMap(({ text }) => importsOf(text));
    const named = imported.filter((module) => module.startsWith("@smile/")).map((module) => module.split("/").slice(0, 2).join("/"));
    for (const dependency of [...dependencies, ...named]) {
      expect(layerOf(dependency.slice("@smile/".length)), `${name} -> ${dependency}`).toBeLessThan(layerOf(name));
    }
    // What is imported is listed.
    expect([...new Set(named)].filter((dependency) => !dependencies.includes(dependency))).toEqual([]);
  });

  it("he and features know nothing but errors", () => {
    for (const name of ["he", "features"]) expect(listed(name).filter((d) => d.startsWith("@smile/"))).toEqual(["@smile/errors"]);
    expect(listed("errors")).toEqual([]);
  });

  it("relative imports stay within their package", () => {
    const leaving = programs.flatMap(({ path, home, text }) =>
      importsOf(text)
        .filter((module) => module.startsWith("."))
        .map((module) => relative(join(ROOT, home), join(ROOT, dirname(path), module)))
        .filter((target) => target.startsWith("..")),
    );
    expect(leaving).toEqual([]);
  });
});

describe("the linter enforces it", () => {
  // A copy of the layout with nothing in it but one offending file each: the checkout itself stays as it is.
  const copy = mkdtempSync(join(tmpdir(), "smile-zones-"));
  afterAll(() => rmSync(copy, { recursive: true, force: true }));
  for (const file of ["biome.json", "package.json", ...packages.map((name) => `${name}/package.json`)]) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    copyFileSync(join(ROOT, file), join(copy, file));
  }

  /** Rules that Biome reports for a file with one import. */
  function broken(path: string, module: string): string[] {
    const file = join(copy, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `import { thing } from "${module}";\n\nexport const used = thing;\n`);
    const biome = join(ROOT, "node_modules/@biomejs/biome/bin/biome");
    const { stdout, status } = spawnSync(process.execPath, [biome, "lint", "--reporter=json", path], { cwd: copy, encoding: "utf8" });
    rmSync(file);
    const rules = Array.from(stdout.matchAll(/"category":\s*"lint\/\w+\/(\w+)"/g), ([, rule]) => rule!);
    expect(status, stdout).toBe(rules.length > 0 ? 1 : 0);
    return [...new Set(rules)];
  }

  it.each(["edge-agent", "stream-processor", "model-service", "runtime", "identity", "schemas", "he", "features", "simulators"])(
    "a file of %s that imports custody fails the check",
    (name) => {
      expect(broken(`${name}/src/offender.ts`, "@smile/custody/decryptor")).toContain("noRestrictedImports");
    },
  );

  it("the same import in the plant's console passes", () => {
    expect(broken("plant-console/src/allowed.ts", "@smile/custody/decryptor")).toEqual([]);
  });

  it("custody by its path fails everywhere, the plant's side included", () => {
    for (const name of ["model-service", "plant-console"])
      expect(broken(`${name}/src/offender.ts`, "../../custody/src/decryptor.ts")).toContain("noRestrictedImports");
  });

  it("the pure core importing a service's package fails", () => {
    expect(broken("he/src/offender.ts", "@smile/runtime/config")).toContain("noRestrictedImports");
    expect(broken("features/src/offender.ts", "@smile/schemas/documents")).toContain("noRestrictedImports");
  });

  it("a dependency that the manifest does not list fails", () => {
    expect(broken("edge-agent/src/offender.ts", "node-seal")).toContain("noUndeclaredDependencies");
  });
});
