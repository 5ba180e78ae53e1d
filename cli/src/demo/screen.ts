import { styleText } from "node:util";
import type { AlertEvent } from "@smile/plant-console/store";
import type { ModelCard } from "@smile/schemas/documents";
import Table from "cli-table3";
import { createLogUpdate } from "log-update";
import type { BothViews, View } from "./both-views.ts";
import type { Report } from "./report.ts";
import type { RunListener, Running } from "./run.ts";
import type { Scenario } from "./scenario.ts";

const REFRESH_MS = 200;
const AT_RISK = 8;

/** What a person sees in a terminal while the demo runs. Dispose to leave the last picture standing. */
export function liveScreen(scenario: Scenario, output: NodeJS.WriteStream): RunListener & Disposable {
  const draw = createLogUpdate(output);
  let running: Running | undefined;
  let training = "";
  let lastAlert = "";
  output.write(`${styleText("bold", "SMiLe Stream")}  ${scenario.title}\n`);
  const timer = setInterval(() => draw(running === undefined ? training : picture(running)), REFRESH_MS);

  function picture({ pipeline, journal, plan, startedMs, steps }: Running): string {
    const seconds = (performance.now() - startedMs) / 1000;
    const { p50Ms, p99Ms } = pipeline.console.latency();
    const [card] = pipeline.deployment.cards as [ModelCard];
    const sent = pipeline.agents.reduce((sum, { agent }) => sum + agent.counters.publishedBytes, 0);
    const framed = pipeline.agents.reduce((sum, { agent }) => sum + agent.counters.framedWindows, 0);
    const table = new Table({
      head: ["machine most at risk", card.unit, "alert"],
      style: { head: ["bold"], border: ["gray"], compact: true },
    });
    for (const { machine, risk, raised } of pipeline.store.mostAtRisk({
      headId: card.headId,
      direction: card.alert.direction,
      limit: AT_RISK,
    })) {
      table.push([machine, risk.toPrecision(3), raised ? styleText("red", "raised") : ""]);
    }
    return [
      `${bar(steps() / scenario.stepCount)}  step ${steps()} of ${scenario.stepCount}`,
      `${journal.windows} windows encrypted, ${journal.risks.length} risks decrypted, ${(journal.risks.length / seconds).toFixed(0)} per second`,
      `window to stored risk: p50 ${p50Ms} ms, p99 ${p99Ms} ms`,
      `bytes: ${(sent / Math.max(1, framed)).toFixed(0)} up per window, ${(pipeline.models.counters.bytes / Math.max(1, journal.risks.length)).toFixed(0)} down per score`,
      `BGV, N = ${plan.params.n}, q of ${plan.params.q.toString(2).length} bits, t = 2^${Math.log2(plan.params.t)}, ${plan.lanes} lanes, ${pipeline.models.counters.batches} ciphertexts scored`,
      table.toString(),
      lastAlert,
    ].join("\n");
  }

  return {
    onTraining: (text, fraction) => {
      training = `${bar(fraction)}  training: ${text}`;
      draw(training);
    },
    onStart: (started) => {
      draw.clear();
      running = started;
    },
    onAlert: ({ kind, alert }) => {
      lastAlert = alertLine({ kind, alert });
    },
    onViews: (views) => {
      draw.clear();
      output.write(`${sideBySide(views, output.columns)}
`);
    },
    onEnd: () => {
      if (running !== undefined) draw(picture(running));
      running = undefined;
      clearInterval(timer);
    },
    [Symbol.dispose]: () => {
      clearInterval(timer);
      draw.done();
    },
  };
}

/** Progress for logs and pipes: a line now and then, nothing that moves. */
export function plainScreen(scenario: Scenario, output: NodeJS.WritableStream): RunListener & Disposable {
  let told = -1;
  let timer: NodeJS.Timeout | undefined;
  output.write(`SMiLe Stream: ${scenario.title}\n`);
  return {
    onTraining: (text, fraction) => {
      const tenth = Math.floor(fraction * 4);
      if (tenth === told) return;
      told = tenth;
      output.write(`training: ${text}\n`);
    },
    onStart: ({ journal, steps }) => {
      timer = setInterval(() => output.write(`step ${steps()} of ${scenario.stepCount}: ${journal.risks.length} risks\n`), 5000);
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

/** The report for a person. Fields that only some scenarios have follow under their own names. */
export function summary(report: Report, inColour: boolean): string {
  const { windows, risks, lost, duplicated, mismatches, alerts, failures, failuresDetected, falseAlarms, ...rest } = report;
  const { firstRiskMs, p50Ms, p99Ms, bytesUpPerWindow, bytesDownPerScore, peakRssMb, frames, batches, lanesFilled, ...more } = rest;
  const { trainingSeconds, streamingSeconds, windowsPerSecond, ...quality } = more;
  const table = new Table({ style: { border: inColour ? ["gray"] : [], compact: true } });
  table.push(
    ["windows encrypted, risks decrypted", `${windows}, ${risks}`],
    ["lost, duplicated, unlike the plaintext head", `${lost}, ${duplicated}, ${mismatches}`],
    ["failures, foreseen by an open alert", `${failures}, ${failuresDetected}`],
    ["alerts, of them false alarms", `${alerts}, ${falseAlarms}`],
    ["window closed to risk stored, p50 and p99", `${p50Ms} ms, ${p99Ms} ms`],
    ["first risk after the start, training included", `${(firstRiskMs / 1000).toFixed(1)} s`],
    ["bytes up per window, down per score", `${bytesUpPerWindow}, ${bytesDownPerScore}`],
    ["ciphertexts sent, scored after merging", `${frames}, ${batches}`],
    ["lanes of a sent ciphertext that held a window", `${Math.round(100 * lanesFilled)} %`],
    ["training, streaming", `${trainingSeconds} s, ${streamingSeconds} s (${windowsPerSecond} windows per second)`],
    ["peak memory of all services together", `${peakRssMb} MB`],
  );
  for (const [name, value] of Object.entries(quality)) table.push([name, String(value)]);
  return table.toString();
}

function bar(fraction: number): string {
  const full = Math.round(30 * Math.min(1, fraction));
  return `[${"#".repeat(full)}${".".repeat(30 - full)}]`;
}

function alertLine({ kind, alert }: AlertEvent): string {
  const atMs = kind === "raised" ? alert.raisedAtMs : alert.clearedAtMs!;
  return `${kind === "raised" ? styleText("red", "alert") : styleText("green", "clear")}  ${alert.machine} at ${new Date(atMs).toISOString()}`;
}

/** Two columns that fit the terminal, or one under the other where it is narrow. */
function sideBySide({ operator, plant }: BothViews, columns: number): string {
  const titles = ["what the operator sees of a window", "what the plant sees of it"] as const;
  const style = { head: ["bold"], border: ["gray"] };
  if (columns < 110) {
    const table = new Table({ style, colWidths: [Math.max(40, columns - 2)], wordWrap: true, wrapOnWordBoundary: false });
    table.push([styleText("bold", titles[0])], [lines(operator)], [styleText("bold", titles[1])], [lines(plant)]);
    return table.toString();
  }
  const width = Math.floor((Math.min(columns, 150) - 3) / 2);
  const table = new Table({ head: [...titles], style, colWidths: [width, width], wordWrap: true, wrapOnWordBoundary: false });
  table.push([lines(operator), lines(plant)]);
  return table.toString();
}

function lines(view: View): string {
  const width = Math.max(...view.map(([name]) => name.length));
  return view.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join("\n");
}
