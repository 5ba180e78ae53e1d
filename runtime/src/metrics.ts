import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** One value of a metric, with a value for each of its labels. */
export type Sample = { readonly labels: Readonly<Record<string, string>>; readonly value: number };

/**
 * A metric whose value is looked up when somebody asks: the counters that a service keeps anyway are its source, so that exposing them
 * costs the service nothing. Names are Prometheus names: `smile_<service>_..._total` for counters, with the unit before it.
 */
export type MetricDefinition = {
  readonly kind: "counter" | "gauge";
  readonly name: string;
  readonly help: string;
  /** Names of the labels; without them `read` gives one number. */
  readonly labels?: readonly string[];
  /** undefined, or a rejection, leaves the metric out of this answer: better absent than wrong. */
  readonly read: () => Value | Promise<Value>;
};
type Value = number | readonly Sample[] | undefined;

/** Durations in seconds, counted in buckets. */
export type DurationHistogram = {
  readonly metric: Histogram;
  /** Negative durations, of clocks that disagree, count as 0. */
  observe(seconds: number): void;
};

/** A source that has no answer by then is left out: a log that hangs must not take the other figures with it. */
const readWithinMs = 2000;

/**
 * The figures of one service, in a registry of its own: several services may live in one process, as in the demo and in tests.
 * Collecting never fails; concurrent callers share one collection.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #readWithinMs: number;
  #exposing: Promise<string> | undefined;

  constructor(options: { readonly readWithinMs?: number } = {}) {
    this.#readWithinMs = options.readWithinMs ?? readWithinMs;
  }

  /** Media type of `expose`. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Names of everything registered. */
  get names(): readonly string[] {
    return this.#registry.getMetricsAsArray().map(({ name }) => name);
  }

  /** @throws {Error} for a name that is registered already or is no metric name */
  add(sources: readonly (MetricDefinition | DurationHistogram)[]): void {
    for (const source of sources) {
      if ("metric" in source) this.#registry.registerMetric(source.metric);
      else this.#define(source);
    }
  }

  /** All figures in Prometheus' text format. */
  expose(): Promise<string> {
    this.#exposing ??= this.#registry.metrics().finally(() => {
      this.#exposing = undefined;
    });
    return this.#exposing;
  }

  /** All figures as numbers; a histogram gives its buckets (label `le`), sum and count. */
  async figures(): Promise<readonly (Sample & { readonly name: string })[]> {
    const metrics = await this.#registry.getMetricsAsJSON();
    return metrics.flatMap(({ name, values }) =>
      values.map(
        ({ value, labels, metricName }: { value: number; labels: Record<string, string | number | undefined>; metricName?: string }) => ({
          name: metricName ?? name,
          labels: Object.fromEntries(Object.entries(labels).map(([label, text]) => [label, String(text)])),
          value,
        }),
      ),
    );
  }

  #define({ kind, name, help, labels = [], read }: MetricDefinition): void {
    const configuration = { name, help, labelNames: [...labels], registers: [this.#registry] };
    const within = this.#readWithinMs;
    if (kind === "counter") {
      new Counter({
        ...configuration,
        async collect() {
          const value = await inTime(read, within);
          this.reset();
          if (value === undefined) forget(this, labels);
          else for (const sample of samples(value)) this.inc({ ...sample.labels }, sample.value);
        },
      });
      return;
    }
    new Gauge({
      ...configuration,
      async collect() {
        const value = await inTime(read, within);
        this.reset();
        if (value === undefined) forget(this, labels);
        else for (const sample of samples(value)) this.set({ ...sample.labels }, sample.value);
      },
    });
  }
}

/**
 * A histogram of durations. It belongs to no registry until it is added to one.
 * @param bucketsSeconds upper bounds, ascending
 */
export function durationHistogram(name: string, help: string, bucketsSeconds: readonly number[]): DurationHistogram {
  const metric = new Histogram({ name, help, buckets: [...bucketsSeconds], registers: [] });
  return { metric, observe: (seconds) => metric.observe(Math.max(0, seconds)) };
}

/** The samples of counts that a service keeps by some key, such as refusals by error code. */
export function samplesBy(label: string, counts: Readonly<Record<string, number>>): readonly Sample[] {
  return Object.entries(counts).map(([key, value]) => ({ labels: { [label]: key }, value }));
}

/** After a reset, a figure with labels has no series left; one without has its zero, which nobody measured. */
function forget(metric: Counter | Gauge, labels: readonly string[]): void {
  if (labels.length === 0) metric.remove();
}

function samples(value: number | readonly Sample[]): readonly Sample[] {
  return typeof value === "number" ? [{ labels: {}, value }] : value;
}

async function inTime(read: MetricDefinition["read"], ms: number): Promise<Value> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), ms);
  try {
    const value = await Promise.race([read(), late.promise]);
    const isKnown = value !== undefined && samples(value).every((sample) => Number.isFinite(sample.value));
    return isKnown ? value : undefined;
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
