import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type OpenModel, openModel } from "../node/open.ts";
import { KvSlot } from "./kv.ts";
import { argmax } from "./sampler.ts";

interface GoldenCase {
  name: string;
  input_ids: number[];
  greedy: number[];
}

describe.each(["oryx-qwen-tiny", "oryx-llama-tiny"])("the decoder of %s", (name) => {
  const dir = `test/fixtures/${name}`;
  const cases = JSON.parse(readFileSync(`${dir}/cases.json`, "utf8")).cases as GoldenCase[];
  const text = cases.find((c) => c.name === "text") as GoldenCase;
  let model: OpenModel;
  beforeAll(async () => {
    model = await openModel(dir);
  });
  afterAll(() => model.close());

  const slot = () => new KvSlot(model.decoder.config, 256);

  /** Greedy tokens with the cache; the prompt in chunks of a given length. */
  async function cached(ids: number[], count: number, chunkTokens: number): Promise<number[]> {
    const kv = slot();
    const out: number[] = [];
    let logits = await model.decoder.prefill(kv, [{ ids }], { chunkTokens });
    while (out.length < count) {
      out.push(argmax(logits));
      logits = await model.decoder.next(kv, out.at(-1) as number);
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
      out.push(argmax(await model.decoder.prefill(slot(), [{ ids: [...text.input_ids, ...out] }])));
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
      slots.map((s, i) => model.decoder.prefill(s, [{ ids: prompts[i] as number[] }])),
    );
    for (let step = 0; step < 16; step++) {
      await Promise.all(
        slots.map(async (s, i) => {
          const id = argmax(logits[i] as Float32Array);
          together[i]?.push(id);
          logits[i] = await model.decoder.next(s, id);
        }),
      );
    }
    expect(together).toEqual(alone);
  });

  it("forgets what is truncated", async () => {
    const kv = slot();
    const first = await model.decoder.prefill(kv, [{ ids: text.input_ids }]);
    await model.decoder.prefill(kv, [{ ids: [5, 6, 7] }]);
    kv.truncate(text.input_ids.length - 1);
    const again = await model.decoder.next(kv, text.input_ids.at(-1) as number);
    expect(argmax(again)).toBe(argmax(first));
  });

  it("stops within a step, and can go on afterwards", async () => {
    const stop = new AbortController();
    const kv = slot();
    const running = model.decoder.prefill(kv, [{ ids: text.input_ids }], {
      signal: stop.signal,
      chunkTokens: 4,
    });
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: "aborted" });
    expect(await cached(text.input_ids, 4, 512)).toEqual(text.greedy.slice(0, 4));
  });
});
