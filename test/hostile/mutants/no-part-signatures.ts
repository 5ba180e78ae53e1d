import { rewrite } from "./rewrite.ts";

// A console that believes parts that no gateway signed.
rewrite("plant-console/src/verification.ts", "for (const part of score.parts)", "for (const part of [] as typeof score.parts)");
