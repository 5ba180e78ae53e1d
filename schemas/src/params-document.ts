import type { Params } from "@smile/he/params";
import type { Deployment } from "./documents.ts";

/** Parameters as documents write them: q as decimal text, since JSON numbers end at 2^53. */
export function paramsToDocument({ scheme, n, q, t }: Params): Deployment["params"] {
  if (n !== 2048 && n !== 4096) throw new RangeError(`no document form for N = ${n}`);
  return { scheme, n, q: q.toString(), t };
}

export function paramsFromDocument({ scheme, n, q, t }: Deployment["params"]): Params {
  return { scheme, n, q: BigInt(q), t };
}
