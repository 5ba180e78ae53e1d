import { performance } from "node:perf_hooks";
import type { MetricDefinition } from "./metrics.ts";

/**
 * What every process tells about itself, under the names that Prometheus' clients share. prom-client's own set is not taken: it starts
 * observers that nobody can stop, and two readers of its event loop figures reset each other's.
 */
export function processMetrics(): readonly MetricDefinition[] {
  return [
    {
      kind: "counter",
      name: "process_cpu_seconds_total",
      help: "CPU time of the process, all threads, user and system",
      read: () => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1e6;
      },
    },
    {
      kind: "gauge",
      name: "process_resident_memory_bytes",
      help: "Resident memory of the process",
      read: () => process.memoryUsage.rss(),
    },
    {
      kind: "gauge",
      name: "process_start_time_seconds",
      help: "When the process started, in seconds since 1970",
      read: () => performance.timeOrigin / 1000,
    },
    {
      kind: "gauge",
      name: "nodejs_heap_size_used_bytes",
      help: "JavaScript heap in use on the main thread",
      read: () => process.memoryUsage().heapUsed,
    },
    {
      kind: "counter",
      name: "nodejs_eventloop_active_seconds_total",
      help: "Time that the main thread's event loop was busy; its rate is the loop's utilisation",
      read: () => performance.eventLoopUtilization().active / 1000,
    },
  ];
}
