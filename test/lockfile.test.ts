import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

type Entry = { readonly resolved?: string; readonly link?: boolean; readonly optionalDependencies?: Readonly<Record<string, string>> };
const { packages } = JSON.parse(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8")) as {
  packages: Record<string, Entry>;
};

it("locks every optional dependency, those of other platforms too, or npm ci refuses the lockfile", () => {
  const locked = new Set(Object.keys(packages).map((path) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length)));
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).flatMap((name) => (locked.has(name) ? [] : [`${path} wants ${name}`])),
  );
  expect(missing).toEqual([]);
});

it("names no registry host: packages come from whichever registry npm is set to", () => {
  const hosts = Object.entries(packages).filter(([, { resolved, link }]) => resolved !== undefined && !link && resolved.includes("://"));
  expect(hosts).toEqual([]);
});

it("pins exact versions in every manifest", () => {
  const manifests = ["", ...Object.entries(packages).flatMap(([, { link, resolved }]) => (link && resolved ? [`${resolved}/`] : []))];
  for (const folder of manifests) {
    const manifest = JSON.parse(readFileSync(new URL(`../${folder}package.json`, import.meta.url), "utf8")) as Record<
      string,
      Record<string, string>
    >;
    for (const kind of ["dependencies", "devDependencies", "optionalDependencies"]) {
      for (const [name, version] of Object.entries(manifest[kind] ?? {})) expect(`${name}@${version}`).toMatch(/@\d+\.\d+\.\d+$/);
    }
  }
});
