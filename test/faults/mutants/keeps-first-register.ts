import { runMutant } from "./stream-processor.ts";

// Refuses, and acknowledges, what gateways make with keys that came after its start.
await runMutant({ keepsFirstRegister: true });
