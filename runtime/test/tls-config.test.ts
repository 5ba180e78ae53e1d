import { isPipelineError } from "@smile/errors/pipeline-error";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { loadConfig } from "../src/config.ts";
import { isLoopback, requireTlsBeyondLoopback, requireTlsUrl, tlsShape, WITHOUT_TLS } from "../src/tls-config.ts";

const codeOf = (work: () => void): string | undefined => {
  try {
    work();
    return undefined;
  } catch (error) {
    return isPipelineError(error) ? error.code : String(error);
  }
};

describe("this machine", () => {
  it.each(["127.0.0.1", "127.0.0.0", "127.255.255.255", "::1", "[::1]", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "localhost", "LocalHost"])(
    "is %s",
    (host) => expect(isLoopback(host)).toBe(true),
  );

  it.each([
    "0.0.0.0",
    "::",
    "128.0.0.1",
    "126.255.255.255",
    "10.0.0.1",
    "::2",
    "::ffff:10.0.0.1",
    "localhost.example",
    "broker",
    "127.0.0.1.example",
    "127.1",
    "",
  ])("is not %s", (host) => expect(isLoopback(host)).toBe(false));
});

describe("without TLS", () => {
  it("nobody listens beyond this machine, unless the configuration says what that means", () => {
    const listen = (host: string, hasTls: boolean, withoutTls?: string) =>
      codeOf(() => requireTlsBeyondLoopback(host, hasTls, withoutTls, "frames.host"));
    expect(listen("0.0.0.0", false)).toBe("TLS_REQUIRED");
    expect(listen("0.0.0.0", false, "yes")).toBe("TLS_REQUIRED");
    expect([listen("127.0.0.1", false), listen("0.0.0.0", true), listen("0.0.0.0", false, WITHOUT_TLS)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it("nobody connects beyond this machine, unless the configuration says what that means", () => {
    const reach = (url: string, withoutTls?: string) => codeOf(() => requireTlsUrl(url, withoutTls, "broker"));
    expect(reach("mqtt://broker:1883")).toBe("TLS_REQUIRED");
    expect(reach("http://[2001:db8::1]:8086/path", "true")).toBe("TLS_REQUIRED");
    expect(reach("mqtt://localhost.:1883")).toBe("TLS_REQUIRED");
    for (const url of ["mqtts://broker:8883", "https://database", "mqtt://127.0.0.1:1883", "mqtt://[::1]:1883", "http://localhost:8086"])
      expect(reach(url)).toBeUndefined();
    expect(reach("mqtt://broker:1883", WITHOUT_TLS)).toBeUndefined();
  });

  it("the error names the key and the sentence that would be needed", () => {
    expect(() => requireTlsUrl("mqtt://broker:1883", undefined, "frames.broker")).toThrow(
      `frames.broker: mqtt://broker is beyond this machine and without TLS; withoutTls would have to say "${WITHOUT_TLS}"`,
    );
  });
});

it("the sections take the sentence in full and nothing like it, and no key that they do not know", () => {
  const schema = z.strictObject({ frames: z.strictObject(tlsShape).prefault({}) });
  const load = (frames: object) => loadConfig({ schema, env: {}, envNames: {}, file: { frames } }).frames;
  expect(load({ withoutTls: WITHOUT_TLS, tls: { certificate: "a", key: "b" } })).toEqual({
    withoutTls: WITHOUT_TLS,
    tls: { certificate: "a", key: "b" },
  });
  expect(() => load({ withoutTls: `${WITHOUT_TLS}.` })).toThrow(/frames\.withoutTls/);
  expect(() => load({ withoutTls: true })).toThrow(/frames\.withoutTls/);
  expect(() => load({ tls: { certificate: "a" } })).toThrow(/frames\.tls\.key/);
  expect(() => load({ tls: { certificate: "a", key: "b", rejectUnauthorized: false } })).toThrow(
    /frames\.tls\.rejectUnauthorized: unknown key/,
  );
});
