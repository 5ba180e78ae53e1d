import { stripVTControlCharacters, styleText } from "node:util";
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
    const table = new Table({ head: ["machine most at risk", card.unit, "alert"], style: { head: ["bold"], border: ["gray"] } });
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
      output.write(`${sideBySide(views)}\n`);
    },
    [Symbol.dispose]: () => {
      clearInterval(timer);
      if (running !== undefined) draw(picture(running));
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

/** The report for a person. */
export function summary(report: Report): string {
  const table = new Table({ style: { border: ["gray"] } });
  const { windows, risks, lost, duplicated, mismatches, ...rest } = report;
  table.push(["windows encrypted / risks decrypted", `${windows} / ${risks}`]);
  table.push(["lost, duplicated, not equal to the plaintext head", `${lost}, ${duplicated}, ${mismatches}`]);
  for (const [name, value] of Object.entries(rest)) table.push([name, String(value)]);
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

function sideBySide({ operator, plant }: BothViews): string {
  const table = new Table({
    head: ["what the operator sees of a window", "what the plant sees of it"],
    style: { head: ["bold"], border: ["gray"] },
  });
  table.push([lines(operator), lines(plant)]);
  return table.toString();
}

function lines(view: View): string {
  const width = Math.max(...view.map(([name]) => stripVTControlCharacters(name).length));
  return view.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join("\n");
}
