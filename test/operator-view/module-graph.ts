import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ROOT } from "../support/smile-process.ts";

/** Imports, exports from elsewhere, `import()`, and files that are named for a worker. */
const NAMED = /(?:from\s+|import\s+|import\s*\(\s*|import\.meta\.resolve\(\s*|new URL\(\s*)["']([^"']+)["']/g;

/** Every file of this checkout that a program can load, however late, with what it names. */
export function reachableFrom(main: string): Set<string> {
  const seen = new Set<string>();
  const waiting = [main];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    for (const [, name] of readFileSync(file, "utf8").matchAll(NAMED)) {
      const target = fileOf(name!, file);
      if (target !== undefined && existsSync(target)) waiting.push(target);
    }
  }
  return seen;
}

/** undefined for what is no file of this checkout. */
function fileOf(name: string, importer: string): string | undefined {
  if (name.startsWith(".")) return join(dirname(importer), name);
  const [, home, module] = /^@smile\/([^/]+)\/(.+)$/.exec(name) ?? [];
  return home === undefined ? undefined : join(ROOT, home, "src", `${module}.ts`);
}
