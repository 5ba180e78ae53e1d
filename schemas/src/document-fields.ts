import { z } from "zod";

/** 64 hexadecimal digits: the SHA-256 of a document's canonical JSON (RFC 8785), of a key's bytes, or of a certificate's DER form. */
export const hash = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits");

/** Milliseconds since 1970. */
export const timeMs = z.number().int().min(0);

/** Versions of an envelope that a reader takes, in any order. */
export const versions = z.array(z.number().int().min(1).max(255)).min(1).max(255);

/**
 * A list of which only the first item that is wrong is told: of a long list of wrong items, what is wrong with each would take a hundred
 * times the document's memory.
 */
export function listOf<T>(item: z.ZodType<T>, most: number) {
  return z
    .array(z.unknown())
    .max(most)
    .transform((values, context): T[] => {
      const items: T[] = [];
      for (const [i, value] of values.entries()) {
        const parsed = item.safeParse(value);
        if (!parsed.success) {
          for (const { message, path } of parsed.error.issues) context.addIssue({ code: "custom", message, path: [i, ...path] });
          return z.NEVER;
        }
        items.push(parsed.data);
      }
      return items;
    });
}

/**
 * Bytes in base64, in the one way of writing them: no bit of the text can change without changing the bytes.
 * @param least fewest bytes
 * @param most most bytes
 */
export function base64Bytes(least: number, most: number) {
  return z.base64().refine(
    (text) => {
      const bytes = Buffer.from(text, "base64");
      return bytes.length >= least && bytes.length <= most && bytes.toString("base64") === text;
    },
    least === most ? `must be the base64 of ${least} bytes` : `must be the base64 of ${least} to ${most} bytes`,
  );
}

/** An Ed25519 public key: base64 of its 32 bytes. */
export const ed25519Key = base64Bytes(32, 32);
