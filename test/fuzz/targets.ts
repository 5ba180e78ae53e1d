import { codecTargets } from "./codec-targets.ts";
import type { Target } from "./fuzzer.ts";
import { jsonTargets } from "./json-targets.ts";
import { packetTarget } from "./packet-target.ts";
import { wireTargets } from "./wire-targets.ts";

/** Everything that parses bytes from outside. Import it after the profiler has started, so that its blocks are counted. */
export const TARGETS: readonly Target[] = [...codecTargets, ...jsonTargets, packetTarget, ...wireTargets];
