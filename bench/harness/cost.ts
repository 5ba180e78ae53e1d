import { PipelineError } from "@smile/errors/pipeline-error";
import type { BenchResult } from "./result.ts";

/** In a currency of yours. */
export type Prices = {
  /** A core of a cloud for an hour. */
  readonly cloudCoreHour: number;
  /** A core of a gateway for an hour: the machine that is there anyway, its power and its upkeep. */
  readonly edgeCoreHour: number;
  /** A gigabyte (10^9 bytes) over the network, in either direction. */
  readonly gigabyte: number;
};

/** Rough list prices of 2026 for a small cloud machine, a gateway and its uplink, in euros: put in your own. */
export const PRICES: Prices = { cloudCoreHour: 0.04, edgeCoreHour: 0.02, gigabyte: 0.08 };

/** Of a million windows. */
export type Cost = {
  readonly way: string;
  readonly cloudCpu: number;
  readonly edgeCpu: number;
  readonly network: number;
  readonly total: number;
};

const WINDOWS = 1e6;
const CLOUD = ["stream-processor", "model-service", "kafka"];
const FLOAT_BYTES = 4;

/**
 * What a million windows cost, encrypted, in the clear in a cloud, and in the clear on the gateways, by stored results of `end-to-end` and
 * `bytes`. A window in the clear is its features as float32 up and one float32 down. On the gateways alone, what is left is what the
 * agent costs without encryption; nothing is sent. The console's CPU counts as the plant's.
 * @throws {PipelineError} DOCUMENT_INVALID when a result lacks a figure
 */
export function costs(endToEnd: BenchResult, bytes: BenchResult, prices: Prices): Cost[] {
  const us = (load: string, process: string) => {
    const found = endToEnd.measurements.find(({ name }) => name === `${load}: ${process}`);
    if (found === undefined) throw missing(`${load}: ${process}`);
    return found.median;
  };
  const bytesOf = (name: string) => {
    const found = bytes.headline[name];
    if (found === undefined) throw missing(name);
    return found;
  };
  const cloud = (load: string) => CLOUD.reduce((sum, process) => sum + us(load, process), 0);
  /** Of all processes that gateways share: "gateways", "gateways 2" and so on. */
  const gateways = (load: string) => {
    const further = endToEnd.measurements.filter(({ name }) => name.startsWith(`${load}: gateways `) && !name.includes(","));
    return further.reduce((sum, { median }) => sum + median, us(load, "gateways"));
  };
  const plant = (load: string) => gateways(load) + us(load, "plant-console");
  const cost = (way: string, use: { cloudUs: number; edgeUs: number; bytes: number }): Cost => {
    const cloudCpu = (use.cloudUs * prices.cloudCoreHour) / 3600;
    const edgeCpu = (use.edgeUs * prices.edgeCoreHour) / 3600;
    const network = (use.bytes * WINDOWS * prices.gigabyte) / 1e9;
    return { way, cloudCpu, edgeCpu, network, total: cloudCpu + edgeCpu + network };
  };
  const exact = bytesOf("upPerWindow") + bytesOf("downPerScoreExact");
  const raw = bytesOf("rawPerWindow") + FLOAT_BYTES;
  // Microseconds of CPU per window are seconds per million windows.
  return [
    cost("encrypted", { cloudUs: cloud(ENCRYPTED), edgeUs: plant(ENCRYPTED), bytes: exact }),
    cost("in the clear, in a cloud", { cloudUs: cloud(PLAIN), edgeUs: plant(PLAIN), bytes: raw }),
    cost("in the clear, on the gateways", { cloudUs: 0, edgeUs: gateways(PLAIN), bytes: 0 }),
  ];
}

const ENCRYPTED = "at half the knee";
const PLAIN = "unencrypted";

function missing(name: string): PipelineError {
  return new PipelineError("DOCUMENT_INVALID", `the stored result has no figure "${name}": measure it anew with --out`, { name });
}
