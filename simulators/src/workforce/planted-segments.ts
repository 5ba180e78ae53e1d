import type { CategoryColumn } from "./workforce-columns.ts";

/** A kind of person, as the simulator plants it. */
export type PlantedSegment = {
  readonly name: string;
  /** Of all persons, in period 0. */
  readonly share: number;
  /** How far the segment's mean lies from the column's centre, in spreads of persons within a segment. */
  readonly shifts: Readonly<Record<string, number>>;
  /** Chance of each category, in the order of `categories`; evenly where there is none. */
  readonly chances: Partial<Readonly<Record<CategoryColumn, readonly number[]>>>;
};

export const plantedSegments: readonly PlantedSegment[] = [
  {
    name: "seasoned specialists",
    share: 0.22,
    shifts: {
      tenure_years: 1.9,
      years_in_role: 2,
      years_since_promotion: 1.4,
      skill_level: 1.3,
      autonomy: 1,
      training_days: -0.8,
      salary_growth_percent: -0.8,
      manager_changes: 0.9,
      monthly_salary: 0.6,
    },
    chances: { department: [0.12, 0.38, 0.25, 0.03, 0.1, 0.04, 0.08], role: [0.05, 0.35, 0.01, 0.02, 0.47, 0.1] },
  },
  {
    name: "newcomers",
    share: 0.2,
    shifts: {
      tenure_years: -2.1,
      years_in_role: -1.8,
      years_since_promotion: -1.5,
      training_days: 1.5,
      courses_completed: 1.4,
      engagement_score: 0.8,
      skill_level: -1.3,
      salary_band: -1,
      monthly_salary: -1,
      salary_growth_percent: 1,
      internal_moves: -1.1,
      manager_changes: -1.1,
    },
    chances: { department: [0.15, 0.2, 0.2, 0.1, 0.1, 0.15, 0.1], role: [0.2, 0.25, 0, 0.1, 0.25, 0.2] },
  },
  {
    name: "shift workers",
    share: 0.2,
    shifts: {
      shift_changes: 2.6,
      remote_days: -1.7,
      commute_km: 0.9,
      meetings_per_week: -1.6,
      after_hours_messages: -1.3,
      travel_days: -1.2,
      autonomy: -1,
      bonus_percent: -0.9,
      team_size: 1.2,
      projects: -1,
    },
    chances: { department: [0.01, 0.02, 0.01, 0.33, 0.55, 0.01, 0.07], role: [0.04, 0.01, 0.01, 0.6, 0.02, 0.32], site: [0.1, 0.45, 0.45] },
  },
  {
    name: "stretched",
    share: 0.16,
    shifts: {
      overtime_hours: 2.1,
      weekly_hours: 1.9,
      after_hours_messages: 1.7,
      balance_satisfaction: -1.6,
      work_satisfaction: -1.1,
      vacation_days_left: 1.5,
      engagement_score: -1.2,
      meetings_per_week: 0.9,
      projects: 1.3,
      survey_response_rate: -0.8,
    },
    chances: { department: [0.1, 0.25, 0.25, 0.05, 0.05, 0.15, 0.15], role: [0.25, 0.3, 0.03, 0.02, 0.3, 0.1] },
  },
  {
    name: "on the road",
    share: 0.12,
    shifts: {
      travel_days: 2.7,
      bonus_percent: 1.7,
      remote_days: 1.1,
      commute_km: 0.8,
      pay_satisfaction: 0.8,
      team_size: -1.1,
      training_days: -0.7,
      manager_satisfaction: -0.7,
    },
    chances: { department: [0, 0.02, 0.02, 0.02, 0.01, 0.58, 0.35], role: [0.25, 0.1, 0.02, 0.01, 0.4, 0.22], site: [0.2, 0.4, 0.4] },
  },
  {
    name: "leaders",
    share: 0.1,
    shifts: {
      direct_reports: 3.5,
      salary_band: 2,
      monthly_salary: 2.2,
      bonus_percent: 1.6,
      meetings_per_week: 1.9,
      autonomy: 1.1,
      internal_moves: 1,
      team_size: 0.8,
      performance_rating: 0.7,
    },
    chances: { role: [0.04, 0.03, 0.87, 0, 0.06, 0], site: [0.5, 0.25, 0.25] },
  },
];

/** Where people of each segment go who change it: rows and columns in the order of `plantedSegments`. */
export const moves: readonly (readonly number[])[] = [
  [0, 0, 0, 0.5, 0.1, 0.4],
  [0.5, 0, 0.15, 0.15, 0.15, 0.05],
  [0.4, 0, 0, 0.3, 0.1, 0.2],
  [0.5, 0, 0.1, 0, 0.2, 0.2],
  [0.3, 0, 0, 0.4, 0, 0.3],
  [0.3, 0, 0, 0.6, 0.1, 0],
];
/** Chance per period that a person changes segment, and that a person leaves and a newcomer takes the place. */
export const MOVING = 0.05;
export const LEAVING = 0.07;
/** The segment of those who take a place. */
export const NEWCOMERS = 1;
