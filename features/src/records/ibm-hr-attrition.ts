import type { RecordMapping } from "./record-spec.ts";

const oneTo = (last: number) => Array.from({ length: last }, (_, i) => String(i + 1));

/**
 * For IBM's public, fictional file of 1,470 employees ("HR Analytics Employee Attrition & Performance"). It uses no sensitive column,
 * and leaves out what gives one away in this file: everybody single has stock option level 0, and total working years go with age.
 * The three rates are drawn at random in this file and belong to no pay.
 */
export const ibmHrAttrition: RecordMapping = {
  name: "IBM HR attrition",
  columns: [
    { column: "JobLevel", kind: "ordinal", values: oneTo(5) },
    { column: "MonthlyIncome", kind: "numeric" },
    { column: "YearsAtCompany", kind: "numeric" },
    { column: "YearsInCurrentRole", kind: "numeric" },
    { column: "YearsSinceLastPromotion", kind: "numeric" },
    { column: "YearsWithCurrManager", kind: "numeric" },
    { column: "NumCompaniesWorked", kind: "numeric" },
    { column: "OverTime", kind: "ordinal", values: ["No", "Yes"] },
    { column: "BusinessTravel", kind: "ordinal", values: ["Non-Travel", "Travel_Rarely", "Travel_Frequently"] },
    { column: "DistanceFromHome", kind: "numeric" },
    { column: "TrainingTimesLastYear", kind: "numeric" },
    { column: "PercentSalaryHike", kind: "numeric" },
    { column: "PerformanceRating", kind: "ordinal", values: oneTo(4) },
    { column: "Education", kind: "ordinal", values: oneTo(5) },
    { column: "JobInvolvement", kind: "ordinal", values: oneTo(4) },
    { column: "JobSatisfaction", kind: "ordinal", values: oneTo(4) },
    { column: "EnvironmentSatisfaction", kind: "ordinal", values: oneTo(4) },
    { column: "RelationshipSatisfaction", kind: "ordinal", values: oneTo(4) },
    { column: "WorkLifeBalance", kind: "ordinal", values: oneTo(4) },
    { column: "Department", kind: "categorical" },
    { column: "JobRole", kind: "categorical" },
    { column: "EducationField", kind: "categorical" },
  ],
  identifier: "EmployeeNumber",
  ignored: [
    "Age",
    "Attrition",
    "DailyRate",
    "EmployeeCount",
    "Gender",
    "HourlyRate",
    "MaritalStatus",
    "MonthlyRate",
    "Over18",
    "StandardHours",
    "StockOptionLevel",
    "TotalWorkingYears",
  ],
  permissions: [],
};
