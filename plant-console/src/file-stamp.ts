import { statSync } from "node:fs";

/** What a file looks like from outside: another text when it was replaced or written to; "" when it cannot be looked at. */
export function fileStamp(path: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch {
    return "";
  }
}
