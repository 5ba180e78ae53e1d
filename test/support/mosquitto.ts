import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";

/** Debian installs it where only root's PATH looks. */
const binary = ["mosquitto", "/usr/sbin/mosquitto"].find((file) => spawnSync(file, ["-h"]).error === undefined);

/** Tests that need Mosquitto. Without one they say so; with SMILE_REQUIRE_BROKERS=1, as in CI, they fail. */
export function describeWithMosquitto(name: string, tests: () => void): void {
  if (binary !== undefined) {
    describe(name, tests);
    return;
  }
  describe(name, () => {
    it.skipIf(process.env.SMILE_REQUIRE_BROKERS !== "1")("NOT RUN without Mosquitto: install Debian's package mosquitto", () => {
      expect.fail("SMILE_REQUIRE_BROKERS is set, but there is no program mosquitto");
    });
  });
}

/** Asked this often whether it answers, or has saved. */
const askEveryMs = 20;

/** A real Mosquitto on a free port of this machine, whose data stay in a folder of its own until it is disposed of. */
export class Mosquitto implements AsyncDisposable {
  readonly #folder: string;
  readonly #port: number;
  #child: ChildProcess | undefined;

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.#port = port;
  }

  /** @param settings lines of mosquitto.conf, beside those that docs/operations.md asks for */
  static async open(settings: readonly string[] = []): Promise<Mosquitto> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    const folder = mkdtempSync(join(tmpdir(), "smile-mosquitto-"));
    const configuration = [
      `listener ${port} 127.0.0.1`,
      "allow_anonymous true",
      `user ${userInfo().username}`,
      "persistence true",
      `persistence_location ${folder}/`,
      "autosave_on_changes true",
      "autosave_interval 1",
      "set_tcp_nodelay true",
      "max_queued_messages 0",
      "max_queued_bytes 1073741824",
      ...settings,
    ];
    writeFileSync(join(folder, "mosquitto.conf"), `${configuration.join("\n")}\n`);
    const mosquitto = new Mosquitto(folder, port);
    await mosquitto.start();
    return mosquitto;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.#port}`;
  }

  /** Bytes of what it has saved. */
  get savedBytes(): number {
    const path = join(this.#folder, "mosquitto.db");
    return existsSync(path) ? statSync(path).size : 0;
  }

  async start(): Promise<void> {
    const child = spawn(binary!, ["-c", join(this.#folder, "mosquitto.conf")], { stdio: "ignore" });
    this.#child = child;
    while (!(await this.#answers())) {
      if (child.exitCode !== null) throw new Error(`mosquitto ended with ${child.exitCode}`);
      await delay(askEveryMs);
    }
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #answers(): Promise<boolean> {
    const socket = connect(this.#port, "127.0.0.1");
    try {
      await once(socket, "connect");
      return true;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }
}
