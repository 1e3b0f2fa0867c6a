import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { RecordedIo } from "../../test/support/recorded-io.ts";
import { main } from "./main.ts";

const read = (folder: string, name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));

async function info(...words: string[]) {
  const io = new RecordedIo();
  return { exitCode: await main(["info", ...words], io), out: io.out, err: io.err };
}

describe("oryx info", () => {
  it.each(["qwen", "llama"])("says what config.json and the files of the %s model say", async (family) => {
    const folder = `test/fixtures/oryx-${family}-tiny`;
    const config = read(folder, "config.json");
    const { out, err, exitCode } = await info(folder, "--json");
    const facts = JSON.parse(out);
    expect(facts).toMatchObject({
      model: folder,
      family,
      randomWeights: false,
      language: {
        layers: config.num_hidden_layers,
        hiddenSize: config.hidden_size,
        intermediateSize: config.intermediate_size,
        heads: config.num_attention_heads,
        kvHeads: config.num_key_value_heads,
        vocabSize: config.vocab_size,
        contextTokens: config.max_position_embeddings,
      },
      vision: { width: config.mm_hidden_size, heads: config.mm_vision_num_heads },
    });
    const ids = [read(folder, "generation_config.json").eos_token_id].flat();
    expect(facts.tokenizer.stopIds).toEqual(expect.arrayContaining(ids));
    for (const { path, bytes } of facts.weights.files) expect(statSync(path).size).toBe(bytes);
    expect([err, exitCode]).toEqual(["", 0]);
  });

  it("counts parameters and memory", async () => {
    const facts = JSON.parse((await info("test/fixtures/oryx-qwen-tiny", "--json")).out);
    // Two layers of width 96, 6 heads of 16 and 2 of keys and values, MLP 160; 464 rows, twice as they are not tied.
    const attention = 96 * 96 + 96 + 2 * (96 * 32 + 32) + 96 * 96;
    const layer = attention + 3 * 96 * 160 + 2 * 96;
    expect(facts.parameters.language).toBe(2 * layer + 2 * 464 * 96 + 96);
    // The compressor's two projections 64 -> 256, the projector 64 -> 96 -> 96, and four marks.
    expect(facts.parameters.connector).toBe(2 * (64 * 256 + 256) + (64 * 96 + 96) + (96 * 96 + 96) + 4 * 96);
    const { total, language, connector, vision } = facts.parameters;
    expect(total).toBe(language + connector + vision);
    expect(facts.weights).toMatchObject({ dtypes: ["bf16"], bytes: 2 * total });
    expect(facts.memory).toEqual({
      weightsAs: "f32",
      weightsBytes: 4 * total,
      kvBytesPer1000Tokens: 1000 * 2 * 2 * 2 * 16 * 4,
    });
  });

  it("prints lines for people", async () => {
    const { out } = await info("test/fixtures/oryx-qwen-tiny");
    expect(out).toMatch(/^parameters: 538,541: language 231,200, connector 49,216, vision 258,125$/m);
    expect(out).toMatch(/^context: +32,768 tokens$/m);
    expect((await info()).out).toMatch(/^model: +oryx-tiny$/m);
  });
});
