import { z } from "zod";

const path = z.string().min(1);

/** An entry of `deployments` in the model service's configuration, as training writes it; paths are relative to its folder. */
export const ServedFilesDocument = z.strictObject({
  deployment: path,
  heads: z.array(path).min(1),
  modelPrivacy: z.enum(["compact", "sanitised"]).default("compact"),
});
