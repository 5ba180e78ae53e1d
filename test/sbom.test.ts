import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { ROOT } from "./support/smile-process.ts";

type Locked = { readonly version?: string; readonly name?: string; readonly dev?: boolean; readonly link?: boolean };
type Component = { readonly purl: string; readonly version: string };

const npm = (...args: string[]) => spawnSync("npm", args, { cwd: ROOT, encoding: "utf8", maxBuffer: 1 << 26 });
const hasCommand = npm("sbom", "--help").stdout?.includes("--sbom-format") === true;
const title = "the software bill of materials lists every package of the lockfile with its version";

it.skipIf(!hasCommand)(hasCommand ? title : `NOT RUN, since this npm has no command sbom: ${title}`, () => {
  // Not with `--omit dev`: that drops what a program of ours and a tool of the tests both depend on (npm/cli issue 7909).
  const { status, stdout, stderr } = npm("run", "--silent", "sbom");
  expect(status, stderr).toBe(0);
  const { bomFormat, components } = JSON.parse(stdout) as { bomFormat: string; components: Component[] };
  expect(bomFormat).toBe("CycloneDX");
  const listed = components.map(({ purl }) => decodeURIComponent(purl).replace(/^pkg:npm\//, ""));
  expect(components.filter(({ version }, i) => !listed[i]!.endsWith(`@${version}`))).toEqual([]);

  const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as { packages: Record<string, Locked> };
  const locked = Object.entries(packages).filter(([path, { link }]) => path !== "" && link !== true);
  const id = (path: string, { name, version }: Locked) => `${name ?? path.replace(/^.*node_modules\//, "")}@${version}`;
  expect(locked.filter(([, { dev }]) => dev !== true).length).toBeGreaterThan(100);
  expect(listed.toSorted()).toEqual([...new Set(locked.map(([path, entry]) => id(path, entry)))].toSorted());
});
