/** What an agent did since it started; never reset. */
export type AgentCounters = {
  /** Rows taken from the source, whatever became of them. */
  rows: number;
  /** Rows that an earlier run of the agent had covered and the source sent again. */
  replayed: number;
  /** Rows that came after their windows were out. */
  late: number;
  /** Rows whose machine and time had come already. */
  duplicate: number;
  /** Rows refused: malformed at the source, of a machine without a lane, or without a usable time, sensor or setting. */
  refused: { malformed: number; unknownMachine: number; unusable: number };
  /** Windows lifted. */
  windows: number;
  /** Features of those windows that were clipped to a bound. */
  clipped: number;
  /** Frames committed to the spool. */
  frames: number;
  /** Windows in those frames. */
  framedWindows: number;
  /** Frames acknowledged by the broker. */
  published: number;
  /** Envelope bytes of acknowledged frames. */
  publishedBytes: number;
  /** Frames that no broker can take, kept in quarantine. */
  quarantined: number;
  /** Frames that the spool's bounds made go, and the windows in them: each is counted in a gap. */
  droppedFrames: number;
  droppedWindows: number;
  /** Gaps that the broker acknowledged. */
  gapsPublished: number;
  /** Stores that were damaged and put aside. */
  damagedStores: number;
  /** Windows of the run before whose machine is in the lease no more: they have no lane to go to. */
  abandoned: number;
  /** Commits to the store, and those that had to be tried again. */
  commits: number;
  commitRetries: number;
};

export function zeroCounters(): AgentCounters {
  return {
    rows: 0,
    replayed: 0,
    late: 0,
    duplicate: 0,
    refused: { malformed: 0, unknownMachine: 0, unusable: 0 },
    windows: 0,
    clipped: 0,
    frames: 0,
    framedWindows: 0,
    published: 0,
    publishedBytes: 0,
    quarantined: 0,
    droppedFrames: 0,
    droppedWindows: 0,
    gapsPublished: 0,
    damagedStores: 0,
    abandoned: 0,
    commits: 0,
    commitRetries: 0,
  };
}
