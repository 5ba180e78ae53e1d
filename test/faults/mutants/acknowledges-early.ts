import { LOG_TOPICS } from "@smile/schemas/topics";
import { runMutant } from "./stream-processor.ts";

// Acknowledges frames to gateways before they are in the log.
await runMutant({ promisesEarly: LOG_TOPICS.frames });
