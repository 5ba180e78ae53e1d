/** A quantity: centre + spread * z, or with `skewed` centre * exp(spread * z), limited and rounded. */
export type QuantityColumn = {
  readonly column: string;
  readonly centre: number;
  readonly spread: number;
  readonly skewed?: boolean;
  readonly lowest?: number;
  readonly highest?: number;
  readonly decimals: number;
  /** How far z moves from one period to the next, for everybody. */
  readonly drift?: number;
  /** Share of records without a value. */
  readonly missing?: number;
};

/** Places in an order: the one nearest to centre + spread * z, counted from 0. */
export type OrderColumn = Pick<QuantityColumn, "column" | "centre" | "spread" | "drift" | "missing"> & {
  readonly values: readonly string[];
};

/** Survey answers are missing more often than what the payroll knows. */
const SURVEY = 0.05;
const PAYROLL = 0.005;
const none = { lowest: 0 };

/** What a personnel file holds of a person in numbers. Spreads are those of persons of one segment. */
export const quantities: readonly QuantityColumn[] = [
  { column: "tenure_years", centre: 7, spread: 2.6, ...none, decimals: 1, missing: PAYROLL },
  { column: "years_in_role", centre: 4, spread: 1.5, ...none, decimals: 1, missing: PAYROLL },
  { column: "years_since_promotion", centre: 2.8, spread: 1.3, ...none, decimals: 1, missing: PAYROLL },
  { column: "monthly_salary", centre: 4100, spread: 0.16, skewed: true, decimals: 0, drift: 0.15, missing: PAYROLL },
  { column: "salary_growth_percent", centre: 2.6, spread: 1.1, ...none, decimals: 1, missing: PAYROLL },
  { column: "bonus_percent", centre: 6, spread: 2.5, ...none, decimals: 1, missing: PAYROLL },
  { column: "weekly_hours", centre: 38, spread: 2.2, lowest: 15, highest: 60, decimals: 1, missing: PAYROLL },
  { column: "overtime_hours", centre: 7, spread: 0.5, skewed: true, decimals: 1, drift: 0.1, missing: 0.01 },
  { column: "commute_km", centre: 16, spread: 0.6, skewed: true, decimals: 0, missing: 0.03 },
  { column: "remote_days", centre: 1.9, spread: 0.9, ...none, highest: 5, decimals: 1, drift: 0.05, missing: 0.02 },
  { column: "travel_days", centre: 7, spread: 3.5, ...none, decimals: 0, missing: 0.01 },
  { column: "training_days", centre: 4, spread: 1.5, ...none, decimals: 1, missing: 0.02 },
  { column: "courses_completed", centre: 5, spread: 2, ...none, decimals: 0, missing: 0.02 },
  { column: "team_size", centre: 11, spread: 3, lowest: 1, decimals: 0, missing: 0.01 },
  { column: "direct_reports", centre: 0.8, spread: 1.6, ...none, decimals: 0, missing: PAYROLL },
  { column: "projects", centre: 3.2, spread: 1.2, ...none, decimals: 0, missing: 0.03 },
  { column: "meetings_per_week", centre: 9, spread: 3, ...none, decimals: 0, missing: 0.02 },
  { column: "after_hours_messages", centre: 12, spread: 0.5, skewed: true, decimals: 0, missing: 0.02 },
  { column: "vacation_days_left", centre: 8, spread: 3.5, ...none, decimals: 0, missing: PAYROLL },
  { column: "internal_moves", centre: 1.6, spread: 1, ...none, decimals: 0, missing: PAYROLL },
  { column: "manager_changes", centre: 1.8, spread: 1, ...none, decimals: 0, missing: PAYROLL },
  { column: "shift_changes", centre: 4, spread: 2, ...none, decimals: 0, missing: 0.01 },
  { column: "engagement_score", centre: 66, spread: 11, ...none, highest: 100, decimals: 0, drift: -0.1, missing: SURVEY },
  { column: "survey_response_rate", centre: 70, spread: 14, ...none, highest: 100, decimals: 0, missing: SURVEY },
];

const fromOneToFive = ["1", "2", "3", "4", "5"];
const answer = { centre: 2.3, spread: 0.8, values: fromOneToFive, missing: SURVEY };

export const orders: readonly OrderColumn[] = [
  { column: "salary_band", centre: 3, spread: 1, values: ["E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8"], missing: PAYROLL },
  { column: "skill_level", centre: 1.4, spread: 0.6, values: ["entry", "skilled", "senior", "expert"], missing: 0.02 },
  { column: "work_satisfaction", ...answer, drift: -0.05 },
  { column: "manager_satisfaction", ...answer },
  { column: "pay_satisfaction", ...answer },
  { column: "balance_satisfaction", ...answer, drift: -0.05 },
  { column: "autonomy", ...answer },
  { column: "performance_rating", centre: 2.3, spread: 0.7, values: fromOneToFive, missing: 0.02 },
];

export const categories = {
  department: ["Administration", "Engineering", "IT", "Logistics", "Production", "Sales", "Service"],
  role: ["Coordinator", "Engineer", "Manager", "Operator", "Specialist", "Technician"],
  site: ["Campus", "North", "South"],
} as const;
export type CategoryColumn = keyof typeof categories;

/** Names a simulated person. */
export const IDENTIFIER = "employee_id";
/** Sensitive columns that a personnel file has too: simulated so that a mapping can be tried on refusing them. */
export const SENSITIVE = ["age", "gender"] as const;

export const workforceColumns: readonly string[] = [
  IDENTIFIER,
  ...SENSITIVE,
  ...Object.keys(categories),
  ...orders.map(({ column }) => column),
  ...quantities.map(({ column }) => column),
];
