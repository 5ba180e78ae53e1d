/** One group as it is shown. */
export type ShownGroup = {
  readonly name: string;
  /** Names of segments that were too small and joined this one. */
  readonly joined: readonly string[];
  readonly people: number;
  readonly share: number;
  readonly words: string;
  /**
   * [F] Standardised centroid of the segment that the others joined, as it was trained. Never the mean of the joined ones, since its
   * place between their centroids would tell how small they are.
   */
  readonly centroid: readonly number[] | null;
};

/** All that a report shows. It is stored as it was shown, so that the same release shows the same again. */
export type ReportFacts = {
  readonly plant: string;
  readonly jobId: string;
  readonly model: string;
  readonly purpose: string;
  readonly scope: "groups" | "records";
  readonly analyst: string;
  readonly releaser: string;
  readonly requestedAtMs: number;
  readonly releasedAtMs: number;
  readonly shownAtMs: number;
  readonly retentionEndsMs: number;
  readonly minimum: number;
  readonly people: number;
  readonly groups: readonly ShownGroup[];
  /** Names of segments of which nothing is shown. */
  readonly withheld: readonly string[];
  /** [F]; empty without profiles. */
  readonly featureNames: readonly string[];
  /** Records; a job of which any is missing or contradicted is not shown. `duplicated`: answers that came again as they were. */
  readonly integrity: { readonly records: number; readonly missing: 0; readonly duplicated: number; readonly contradictions: 0 };
  /** The release before this one of the same model in the same groups, where there is one. */
  readonly earlier: { readonly jobId: string; readonly shownAtMs: number; readonly shares: readonly number[] } | null;
  /** Earlier releases of which nobody is in this one: other people, or a pseudonym key that was replaced. */
  readonly strangers: number;
};
