import { tlsShape } from "@smile/runtime/tls-config";
import { NAME } from "@smile/schemas/topics";
import { z } from "zod";

/** Of a path in a configuration file, relative to its folder. */
export const path = z.string().min(1);
const name = z.string().regex(NAME, "must be 1 to 64 letters, digits, dots, dashes or underscores");

/** What a gateway's configuration says of who it is and where it sends to, whether it has machines or records. */
export const gatewayShape = {
  plant: name,
  gateway: name,
  /** Path of the plant's public-key document, or in symmetric mode of this gateway's secret key (mode 0600). */
  key: path,
  /** Path of the plant's register, and the hash of the identity that must have signed it: keys have to be in force there. */
  register: path.optional(),
  identity: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits")
    .optional(),
  /** Path of the gateway's signing key (mode 0600). */
  signingKey: path,
  /** Path of the service's document: versions of envelopes, and the authority of its brokers. */
  service: path.optional(),
  mqtt: z.strictObject({
    url: z.url({ protocol: /^mqtts?$/ }),
    window: z.number().int().min(1).max(1024).default(16),
    largestEnvelopeBytes: z
      .number()
      .int()
      .min(1024)
      .max(1 << 28)
      .default(1 << 17),
  }),
  ...tlsShape,
};
