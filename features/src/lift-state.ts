/** What a lift keeps of one machine between rows. Rows come in order of event time. */
export interface LiftState {
  /**
   * @param sensors [sensors], finite; copied
   * @returns how many older rows had to leave before their time, to keep memory bounded
   */
  add(timeMs: number, sensors: Float64Array): number;
  /** Whether enough rows have come for a window that ends here. */
  ready(endMs: number): boolean;
  /** The lifted vector of the window that ends here, into `out` [lift width]. Never changes what later windows give. */
  read(endMs: number, out: Float64Array): void;
  /** Numbers that `restore` of the same lift accepts. */
  snapshot(): Float64Array;
}
