/**
 * Tells what a command did, and the next step.
 * @param facts for programs: one JSON object with `next`
 * @param lines for people, before the next step
 * @param next one sentence; undefined where nothing follows
 */
export function report(json: boolean | undefined, facts: object, lines: readonly string[], next?: string): void {
  if (json) process.stdout.write(`${JSON.stringify({ ...facts, next: next ?? null })}\n`);
  else process.stdout.write(`${[...lines, ...(next === undefined ? [] : [`next: ${next}`])].join("\n")}\n`);
}

/** How people at both ends can tell that they have the same document of the service. */
export function serviceLine(id: string | null): string[] {
  return id === null ? [] : [`service  ${id}  must be what its operator tells you`];
}
