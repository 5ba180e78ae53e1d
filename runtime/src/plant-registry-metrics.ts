import { type MetricDefinition, samplesBy } from "./metrics.ts";
import type { FilePlantRegistry } from "./plant-registry.ts";

/** Figures of a registry for Prometheus: the same names in every service that reads registers. */
export function plantRegistryMetrics(registry: FilePlantRegistry): readonly MetricDefinition[] {
  return [
    {
      kind: "gauge",
      name: "smile_plant_register_serial",
      help: "Serial of the plant's register that is in force",
      labels: ["plant"],
      read: () => registry.plants.map(({ plant, register }) => ({ labels: { plant }, value: register.serial })),
    },
    {
      kind: "counter",
      name: "smile_plant_registers_taken_total",
      help: "Registers that came into force",
      read: () => registry.counters.taken,
    },
    {
      kind: "counter",
      name: "smile_plant_registers_refused_total",
      help: "Registers that were refused, by error code; the one before stays in force",
      labels: ["code"],
      read: () => samplesBy("code", registry.counters.refused),
    },
  ];
}
