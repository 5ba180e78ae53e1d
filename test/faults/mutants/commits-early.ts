import { LOG_TOPICS } from "@smile/schemas/topics";
import { runMutant } from "./stream-processor.ts";

// Commits frames of the log before the batches that they went into are durable.
await runMutant({ promisesEarly: LOG_TOPICS.batches });
