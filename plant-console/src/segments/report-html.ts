import { driftChart, profileChart, sizesChart } from "./report-charts.ts";
import type { ReportFacts, ShownGroup } from "./report-facts.ts";

const STYLE = `
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
  table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
  th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #8886; }
  td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
  td:first-child, th:first-child { white-space: nowrap; }
  figure { margin: 1rem 0; background: #fff; color: #222; border-radius: .4rem; overflow-x: auto; }
  .note { border-left: .3rem solid #d55e00; padding: .3rem .8rem; }
  footer { margin-top: 2rem; font-size: .85rem; opacity: .8; }`;

/** A report as one HTML page that loads nothing and runs nothing. */
export function reportHtml(facts: ReportFacts): string {
  const { jobId, model, people, groups, withheld, integrity, minimum, earlier, strangers } = facts;
  const profile = profileChart(facts);
  const drift = driftChart(facts);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Groups of job ${text(jobId)}</title>
<style>${STYLE}
</style>
</head>
<body>
<h1>Groups in ${text(model)}</h1>
<p>${count(people)} people in job ${text(jobId)}, ${groups.length} ${groups.length === 1 ? "group" : "groups"} shown${withheld.length === 0 ? "" : `, ${withheld.length} withheld`}. No group below ${minimum} people is shown.</p>
${strangers === 0 ? "" : `<p class="note">Nobody of ${strangers === 1 ? "an earlier release" : `${strangers} earlier releases`} is in this one. If these are the same people, their pseudonym key was replaced, and this report was not protected against subtraction from the earlier one.</p>`}
<h2>Why, and who agreed</h2>
<table>
${row("Purpose", facts.purpose)}
${row("Asked by", `${facts.analyst}, ${day(facts.requestedAtMs)}`)}
${row("Released by", `${facts.releaser}, ${day(facts.releasedAtMs)}`)}
${row("Released for", facts.scope === "groups" ? "groups only, nobody's own group" : "groups, and the group of each person by pseudonym")}
${row("Shown first", day(facts.shownAtMs))}
${row("Assignments are deleted", `${day(facts.retentionEndsMs)} at the latest`)}
</table>
<h2>How large the groups are</h2>
<figure>${sizesChart(facts)}</figure>
${withheld.length === 0 ? "" : `<p>Withheld: ${withheld.map(text).join(", ")}. Their people are among the ${count(people)}; how many are in which is not told, since too few would be.</p>`}
<h2>What sets them apart</h2>
<table>
<tr><th>Group</th><th class="number">People</th><th class="number">Share</th><th>In words, by the model as it was trained</th></tr>
${groups.map(groupRow).join("\n")}
</table>
${profile === null ? "" : `<figure>${profile}</figure>\n<p>Distance of each group's centre from the average of all, in standard deviations times the column's weight, as the model was trained; the columns in which groups differ most.</p>`}
${drift === null ? "" : `<h2>Since the run before</h2>\n<figure>${drift}</figure>\n<p>Against job ${text(earlier!.jobId)}, shown ${day(earlier!.shownAtMs)}.</p>`}
<h2>Is it whole?</h2>
<p>${count(integrity.records)} records, ${integrity.missing} missing, ${integrity.contradictions} answered twice with different answers; ${count(integrity.duplicated)} answers came again unchanged and were dropped.</p>
<footer>Plant ${text(facts.plant)}. Groups are patterns in the columns that were chosen, not judgements of people: do not decide about a person by a group. Keep this page as you keep personal data.</footer>
</body>
</html>
`;
}

function groupRow({ name, joined, people, share, words }: ShownGroup): string {
  const with_ = joined.length === 0 ? "" : `<br><small>with ${joined.map(text).join(", ")}, too small alone</small>`;
  return `<tr><td>${text(name)}${with_}</td><td class="number">${count(people)}</td><td class="number">${percent(share)}</td><td>${text(words || "close to the average in every column")}</td></tr>`;
}

const row = (name: string, value: string) => `<tr><th>${text(name)}</th><td>${text(value)}</td></tr>`;
const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
const count = (value: number) => value.toLocaleString("en");
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const text = (value: string) => value.replace(/[&<>"']/g, (character) => ENTITIES[character]!);
