import { hash } from "node:crypto";

/**
 * The partition of a key: the first 32 bits of the SHA-256 of its UTF-8, modulo the number of partitions.
 * Part of the stored format: every implementation of the log uses it, so that a key keeps its partition when the log is exchanged.
 * @param partitions at least 1
 * @returns 0 to partitions - 1
 */
export function partitionOf(key: string, partitions: number): number {
  return hash("sha256", key, "buffer").readUInt32BE(0) % partitions;
}
