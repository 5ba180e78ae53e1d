/** What says to which row a risk belongs. Names may be numbers; risks of one commit have no `storedAtMs` yet. */
type Member = {
  readonly gateway: string | number;
  readonly epoch: number;
  readonly sequence: number;
  readonly block: number;
  readonly lane: number;
  readonly headId: string | number;
  readonly output: number;
  readonly frameTimeMs: number;
  readonly closedAtMs: number;
  readonly storedAtMs?: number;
};

/**
 * Risks in runs that belong into one row: of one frame under one output of one head, of the same times, lanes ascending, and so each
 * lane once. Risks keep their order; one run is in memory at a time.
 */
export function* framesOf<Risk extends Member>(risks: Iterable<Risk>): Generator<readonly [Risk, ...Risk[]]> {
  let frame: [Risk, ...Risk[]] | undefined;
  let last: Risk | undefined;
  for (const risk of risks) {
    if (frame !== undefined && follows(last!, risk)) frame.push(risk);
    else {
      if (frame !== undefined) yield frame;
      frame = [risk];
    }
    last = risk;
  }
  if (frame !== undefined) yield frame;
}

function follows(last: Member, risk: Member): boolean {
  return (
    risk.lane > last.lane &&
    risk.sequence === last.sequence &&
    risk.block === last.block &&
    risk.output === last.output &&
    risk.epoch === last.epoch &&
    risk.frameTimeMs === last.frameTimeMs &&
    risk.closedAtMs === last.closedAtMs &&
    risk.storedAtMs === last.storedAtMs &&
    risk.gateway === last.gateway &&
    risk.headId === last.headId
  );
}
