import { z } from "zod";

const path = z.string().min(1);

/** The plants that a service works for: where each one's register is, and whose register it must be. */
export const PlantsConfig = z
  .array(
    z.strictObject({
      /** The plant's register, which is read again whenever it changes. */
      register: path,
      /** SHA-256 of the plant's identity, as the plant told it by a way of its own: not copied out of the register. */
      identity: z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits"),
      /** Where the service keeps the register that it took last. Default: beside `register`, its name with `.taken` behind it. */
      taken: path.optional(),
    }),
  )
  .min(1);
export type PlantsConfig = z.output<typeof PlantsConfig>;

/** Help on `PlantsConfig`, for a command's details. */
export const plantsHelp = "plants [{register (path), identity (hash of the plant's identity), taken (path; register's with .taken)}]";
