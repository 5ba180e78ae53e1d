import { z } from "zod";
import { LARGEST_FRAME_BYTES } from "./admission.ts";
import { defaultQuota } from "./quota.ts";

/** A `Quota` in a configuration file. The largest frame must fit into a second. */
export const quotaSchema = z
  .strictObject({
    framesPerSecond: z.number().int().min(1).max(1_000_000).default(defaultQuota.framesPerSecond),
    bytesPerSecond: z
      .number()
      .int()
      .min(LARGEST_FRAME_BYTES)
      .max(2 ** 40)
      .default(defaultQuota.bytesPerSecond),
  })
  .prefault({});
