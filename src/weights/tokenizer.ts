import { join } from "node:path";
import { LIMITS } from "../core/limits.ts";
import { endIds } from "../model/config.ts";
import { createTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { isFile, readJsonObject } from "./files.ts";

/** A value of tokenizer.json is a token, an id or part of a merge: three for each of the most that it may have. */
const TOKENIZER_JSON = {
  maxValues: 2 * LIMITS.vocabSize + 3 * LIMITS.vocabMerges,
  maxTextBytes: LIMITS.tokenizerBytes,
};

/** The tokenizer of a model folder. @throws OryxError `model_missing`, `tokenizer_invalid` */
export async function openTokenizer(dir: string): Promise<Tokenizer> {
  const read = (name: string) =>
    readJsonObject(join(dir, name), LIMITS.tokenizerBytes, "tokenizer_invalid", TOKENIZER_JSON);
  const configName = "tokenizer_config.json";
  const config = (await isFile(join(dir, configName))) ? await read(configName) : {};
  return createTokenizer(await read("tokenizer.json"), config);
}

/** Ids that end an answer: the model's own end tokens, and a turn's end, whatever the folder says. */
export function stopIds(
  { config, generation }: Pick<Checkpoint, "config" | "generation">,
  tokenizer: Tokenizer,
): ReadonlySet<number> {
  return new Set([...endIds(config, generation), tokenizer.special("<|im_end|>")]);
}
