import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { idleSession, NARROW } from "../../test/support/idle-session.ts";
import { keepingCaches } from "../../test/support/resident-runtime.ts";
import { languageGraph, languageGraphInPlace } from "../model/oryx.ts";
import { emitOnnx } from "../onnx/emit.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime, Session } from "../runtime/session.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { Decoder, type DecoderSessions } from "./decoder.ts";
import { HostKvMemory, type KvForm } from "./kv.ts";
import { loadDecoder, type ModelSource, storedParams } from "./load.ts";
import { argmax } from "./sampler.ts";

interface GoldenCase {
  name: string;
  input_ids: number[];
  greedy: number[];
}

/** As where matrices are stored as int4 and as int8, but in full precision: prompts and steps have a graph each. */
async function bothForms(
  runtime: Runtime,
  { config, language }: Pick<ModelSource, "config" | "language">,
): Promise<Decoder> {
  const p = storedParams(language);
  const [prefill, decode] = await Promise.all(
    [languageGraphInPlace(p, config), languageGraph(p, config)].map((graph) => runtime.load(emitOnnx(graph))),
  );
  const sessions: DecoderSessions = {
    prefill: { session: prefill as Session, form: "whole" },
    decode: { session: decode as Session, form: "rows" },
  };
  return new Decoder(sessions, config, new HostKvMemory(config, "f32"));
}

describe.each([
  ["oryx-qwen-tiny", "in its process's memory"],
  ["oryx-llama-tiny", "in its process's memory"],
  ["oryx-qwen-tiny", "in its process's memory, extended in place by prompts"],
  ["oryx-llama-tiny", "in its process's memory, extended in place by prompts"],
  ["oryx-qwen-tiny", "in the device's memory"],
  ["oryx-llama-tiny", "in the device's memory"],
])("the decoder of %s, its cache %s,", (name, memory) => {
  const dir = `test/fixtures/${name}`;
  const cases = JSON.parse(readFileSync(`${dir}/cases.json`, "utf8")).cases as GoldenCase[];
  const text = cases.find((c) => c.name === "text") as GoldenCase;
  let runtime: Runtime;
  let decoder: Decoder;
  beforeAll(async () => {
    runtime = await createNodeRuntime();
    const { config, language } = await openCheckpoint(dir);
    const source = { config: config.language, language };
    if (memory.includes("in place")) decoder = await bothForms(runtime, source);
    else decoder = await loadDecoder(memory.includes("device") ? keepingCaches(runtime) : runtime, source);
  });
  afterAll(() => runtime.close());

  const slot = () => decoder.slot(256);

  /** Greedy tokens with the cache; the prompt in chunks of a given length. */
  async function cached(ids: number[], count: number, chunkTokens: number): Promise<number[]> {
    const kv = slot();
    const out: number[] = [];
    let logits = await decoder.prefill(kv, [{ ids }], { chunkTokens });
    while (out.length < count) {
      out.push(argmax(logits));
      logits = await decoder.next(kv, out.at(-1) as number);
    }
    return out;
  }

  it("generates the reference's tokens", async () => {
    expect(await cached(text.input_ids, text.greedy.length, 512)).toEqual(text.greedy);
  });

  it.each([1, 2, 7, 32])("generates the same in chunks of %i tokens", async (chunkTokens) => {
    expect(await cached(text.input_ids, text.greedy.length, chunkTokens)).toEqual(text.greedy);
  });

  it("generates the same without a cache, every step from the beginning", async () => {
    const out: number[] = [];
    while (out.length < text.greedy.length) {
      out.push(argmax(await decoder.prefill(slot(), [{ ids: [...text.input_ids, ...out] }])));
    }
    expect(out).toEqual(text.greedy);
  });

  it("gives interleaved sequences what each gets alone", async () => {
    const prompts = [text.input_ids, text.input_ids.toReversed()];
    const alone = [
      await cached(prompts[0] as number[], 16, 512),
      await cached(prompts[1] as number[], 16, 512),
    ];
    const slots = [slot(), slot()];
    const together: number[][] = [[], []];
    const logits = await Promise.all(
      slots.map((s, i) => decoder.prefill(s, [{ ids: prompts[i] as number[] }])),
    );
    for (let step = 0; step < 16; step++) {
      await Promise.all(
        slots.map(async (s, i) => {
          const id = argmax(logits[i] as Float32Array);
          together[i]?.push(id);
          logits[i] = await decoder.next(s, id);
        }),
      );
    }
    expect(together).toEqual(alone);
  });

  it("forgets what is truncated", async () => {
    const kv = slot();
    const first = await decoder.prefill(kv, [{ ids: text.input_ids }]);
    await decoder.prefill(kv, [{ ids: [5, 6, 7] }]);
    kv.truncate(text.input_ids.length - 1);
    const again = await decoder.next(kv, text.input_ids.at(-1) as number);
    expect(argmax(again)).toBe(argmax(first));
  });

  it("goes on from rows that were read from another slot", async () => {
    const count = text.input_ids.length;
    const [first, second] = [slot(), slot()];
    const logits = await decoder.prefill(first, [{ ids: text.input_ids }]);
    await second.append((await first.read(0, 5)).map((rows) => rows.slice()));
    const rest = second.room(count - 5);
    for (const [i, rows] of (await first.read(5, count - 5)).entries()) rest[i]?.set(rows);
    expect(second.length).toBe(5);
    await second.append(rest);
    expect(second.length).toBe(count);
    const out: number[] = [];
    for (let next = logits; out.length < text.greedy.length; ) {
      out.push(argmax(next));
      next = await decoder.next(second, out.at(-1) as number);
    }
    expect(out).toEqual(text.greedy);
    expect(first.length).toBe(count);
  });

  it("refuses more tokens than the slot may hold", async () => {
    const kv = decoder.slot(4);
    await expect(decoder.prefill(kv, [{ ids: [1, 2, 3, 4, 5] }])).rejects.toThrow(RangeError);
    await decoder.prefill(kv, [{ ids: [1, 2, 3] }]);
    await expect(kv.append(await kv.read(0, 2))).rejects.toThrow(RangeError);
    await decoder.next(kv, 4);
    await expect(decoder.next(kv, 5)).rejects.toThrow(RangeError);
  });

  it("uses a slot again after it was closed", async () => {
    const kv = slot();
    const first = await decoder.prefill(kv, [{ ids: text.input_ids }]);
    await kv.close();
    expect(kv.length).toBe(0);
    expect(await decoder.prefill(kv, [{ ids: text.input_ids }])).toEqual(first);
  });

  it("stops within a step, and can go on afterwards", async () => {
    const stop = new AbortController();
    const kv = slot();
    const running = decoder.prefill(kv, [{ ids: text.input_ids }], {
      signal: stop.signal,
      chunkTokens: 4,
    });
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: "aborted" });
    expect(await cached(text.input_ids, 4, 512)).toEqual(text.greedy.slice(0, 4));
  });
});

describe("a prompt behind a long context", () => {
  const config = { ...NARROW, heads: 7, kvHeads: 1 };
  const CONTEXT = 32_000;

  /** Lengths of the steps that a prompt of 600 tokens is fed in. */
  async function stepsOf(form: KvForm): Promise<number[]> {
    const steps: number[] = [];
    const session = idleSession(({ order }) => steps.push(order?.shape[0] as number));
    const only = { session, form };
    const decoder = new Decoder({ prefill: only, decode: only }, config, new HostKvMemory(config, "f32"));
    await decoder.withSlot(CONTEXT + 600, async (slot) => {
      await slot.append(slot.room(CONTEXT));
      await decoder.prefill(slot, [{ ids: Array<number>(600).fill(0) }]);
    });
    return steps;
  }

  it("is fed in full steps where the cache is extended in place, since no scores are kept", async () => {
    expect(await stepsOf("whole")).toEqual([256, 256, 88]);
  });

  it("is fed in shorter steps where all scores of a step are there at a time", async () => {
    const steps = await stepsOf("rows");
    expect(steps.length).toBeGreaterThan(8);
    for (const length of steps) expect(length * 7 * 4 * CONTEXT).toBeLessThan(64e6);
  });
});

describe("a cache in the device's memory", () => {
  const dir = "test/fixtures/oryx-qwen-tiny";
  let runtime: Runtime;
  let host: Decoder;
  let resident: Decoder;
  beforeAll(async () => {
    runtime = await createNodeRuntime();
    const { config, language } = await openCheckpoint(dir);
    const source = { config: config.language, language };
    host = await loadDecoder(runtime, source);
    resident = await loadDecoder(keepingCaches(runtime, 31), source);
  });
  afterAll(() => runtime.close());

  it("holds what one in the process's memory holds, while it grows", async () => {
    const ids = Array.from({ length: 1500 }, (_, i) => (i * 37 + 11) % host.config.vocabSize);
    const slots = [host.slot(2000), resident.slot(2000)] as const;
    for (const [from, to] of [
      [0, 3],
      [3, 700],
      [700, 1500],
    ]) {
      const [expected, actual] = await Promise.all([
        host.prefill(slots[0], [{ ids: ids.slice(from, to) }]),
        resident.prefill(slots[1], [{ ids: ids.slice(from, to) }]),
      ]);
      actual.forEach((logit, i) => {
        expect(logit).toBeCloseTo(expected[i] as number, 3);
      });
    }
    const [expected, actual] = [await slots[0].read(400, 900), await slots[1].read(400, 900)];
    expect(actual).toHaveLength(expected.length);
    for (const [block, rows] of actual.entries()) {
      const worst = Array.from(rows, (x, i) => Math.abs(x - (expected[block]?.[i] as number))).reduce(
        (a, b) => Math.max(a, b),
        0,
      );
      expect(worst).toBeLessThan(1e-4);
    }
  });

  it("is fed no more tokens at a time than its device computes rightly", async () => {
    expect(resident.stepTokens).toBe(31);
    const order = BigInt64Array.from({ length: 32 }, (_, i) => BigInt(i));
    const chunk = { ids: order, visual: new Float32Array(0), visuals: 0, order };
    await expect(resident.step(resident.slot(64), chunk, [31])).rejects.toThrow(RangeError);
  });

  it("is one in the process's memory where keys and values are f16", async () => {
    const { config, language } = await openCheckpoint(dir);
    const source = { config: config.language, language };
    const half = await loadDecoder(keepingCaches(runtime, 31), source, { kv: "f16" });
    expect(half.stepTokens).toBe(Number.POSITIVE_INFINITY);
    await half.close();
  });

  it("is freed when the decoder is closed", async () => {
    const { config, language } = await openCheckpoint(dir);
    const decoder = await loadDecoder(keepingCaches(runtime), { config: config.language, language });
    const kv = decoder.slot(64);
    await decoder.prefill(kv, [{ ids: [1, 2, 3] }]);
    await decoder.close();
    await expect(kv.read(0, 1)).rejects.toMatchObject({ code: "closed" });
    await expect(decoder.next(kv, 1)).rejects.toMatchObject({ code: "closed" });
    await kv.close();
  });
});
