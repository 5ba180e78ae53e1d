import { ManyPlants } from "./many-plants-topology.ts";

const [plants = "100", gatewaysPerPlant = "1", log = "embedded", rate = "", prof = "", seconds = "20", broker = "built-in"] =
  process.argv.slice(2);
await using many = await ManyPlants.start(
  {
    plants: Number(plants),
    gatewaysPerPlant: Number(gatewaysPerPlant),

    consoles: Math.min(Number(plants), 9800),
    sample: Math.min(50, Number(plants)),
    log: log as "kafka",
    broker: broker as "mosquitto",
    partitions: 8,
    threads: 1,
    ...(prof && { node: ["--cpu-prof", `--cpu-prof-dir=${prof}`] }),
  },
  console.log,
);
console.log("before load", JSON.stringify([...many.usage()].map(([n, u]) => [n, Math.round(u.rssMb), u.files])));
for (const r of (rate || String((Number(plants) * Number(gatewaysPerPlant)) / 60)).split(",").map(Number)) {
  const load = await many.at(r, { settleMs: 10_000, measureMs: 1000 * Number(seconds) });
  const { cpu, usage, ...rest } = load;
  console.log(r, JSON.stringify(rest));
  for (const [name, cores] of cpu)
    console.log(
      "   ",
      name.padEnd(18),
      cores.toFixed(3),
      "cores, rss",
      Math.round(usage.get(name)!.rssMb),
      "peak",
      Math.round(usage.get(name)!.peakRssMb),
    );
}
