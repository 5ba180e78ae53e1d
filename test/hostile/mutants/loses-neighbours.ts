import { rewrite } from "./rewrite.ts";

// A stream processor that passes over what comes with what it refuses: a refusal costs the frame behind it.
rewrite(
  "stream-processor/src/ingress.ts",
  "const admitted = await",
  "if ((this.counters.accepted + 1) % 20 === 0) { this.counters.accepted += 1; return; }\n    const admitted = await",
);
