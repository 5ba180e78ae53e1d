import { statSync } from "node:fs";

/** File systems tell times in steps: what was written this recently may be written again without a trace. */
const SETTLED_MS = 2000;

/** How a file lies there: the stamp changes when its content may have; `settled` when a change would show in it. */
export type FileLook = { readonly stamp: string; readonly settled: boolean; readonly size: number };

/** Never throws for a file that is missing. */
export function lookAtFile(path: string): FileLook {
  const found = statSync(path, { throwIfNoEntry: false, bigint: true });
  if (found === undefined) return { stamp: "none", settled: true, size: 0 };
  const { dev, ino, size, mtimeNs, ctimeNs, ctimeMs } = found;
  const settled = Math.abs(Date.now() - Number(ctimeMs)) > SETTLED_MS;
  return { stamp: `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`, settled, size: Number(size) };
}
