/**
 * Trains oryx-tiny's tokenizer on the miniature world's texts and writes tokenizer.json and tokenizer_config.json
 * beside this file. The same texts give the same files.
 *
 * Run `npm run build && node recipes/oryx-tiny/tokenizer.mjs`. A model goes with one tokenizer: after a change here,
 * train it again.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Tokenizer } from "tokenizers";
import { BYTE_STAND_INS } from "../../dist/text/vocabulary.js";
import { corpus } from "../../dist/world/corpus.js";
import { FIRST_TRAINING_SEED } from "../../dist/world/seeds.js";

/** Samples of each kind of question to learn from: in half as many, every word occurs too. */
const SAMPLES = 1000;

const SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/** Qwen2's: contractions, words with the character before them, single digits, punctuation, line ends, blanks. */
const WORDS = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

/** What the prompt adds to every conversation. Each is encoded on its own, so each begins without a space. */
const FRAME = [
  "system",
  "user",
  "assistant",
  "You are a helpful assistant.",
  "This is a extremely long video with a total of 0 frames sampled from the video. Please carefully " +
    "read every given frame in this video, identifying the detailed contents in every frame. ",
];

const folder = new URL("./", import.meta.url);
const { vocab_size: size } = JSON.parse(await readFile(new URL("config.json", folder), "utf8"));
const merges = (await learnMerges([...FRAME, ...corpus(SAMPLES, FIRST_TRAINING_SEED)])).slice(
  0,
  size - 256 - SPECIALS.length,
);
const vocab = vocabularyOf(merges);
const added = SPECIALS.map((content, i) => special(content, size - SPECIALS.length + i));
await writeFile(new URL("tokenizer.json", folder), json(tokenizer(vocab, merges, added)));
await writeFile(new URL("tokenizer_config.json", folder), json(settings(added)));
console.log(`${Object.keys(vocab).length} tokens and ${added.length} special ones, of ${size} rows`);

/** Every pair that byte-pair encoding joins until each word of the texts is one token, the most frequent first. */
async function learnMerges(texts) {
  const dir = await mkdtemp(join(tmpdir(), "oryx-tokenizer-"));
  try {
    const [lines, trained] = [join(dir, "texts.txt"), join(dir, "trained.json")];
    await writeFile(lines, texts.join("\n"));
    const learner = Tokenizer.fromString(JSON.stringify(tokenizer({}, [], [])));
    learner.train([lines]);
    learner.save(trained);
    const { model } = JSON.parse(await readFile(trained, "utf8"));
    // Texts stand on lines of their own; what was learnt of the ends of those lines is no part of them.
    return model.merges.filter((pair) => !pair.join("").includes(BYTE_STAND_INS[0x0a]));
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** Bytes first, by their value, then what each merge makes. */
function vocabularyOf(merges) {
  const tokens = new Set([...BYTE_STAND_INS, ...merges.map((pair) => pair.join(""))]);
  return Object.fromEntries([...tokens].map((token, id) => [token, id]));
}

function tokenizer(vocab, merges, added) {
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false };
  const words = { type: "Split", pattern: { Regex: WORDS }, behavior: "Isolated", invert: false };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: { type: "NFC" },
    pre_tokenizer: { type: "Sequence", pretokenizers: [words, bytes] },
    post_processor: bytes,
    decoder: bytes,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: merges.map((pair) => pair.join(" ")), // no token has a blank: its stand-in is another character
    },
  };
}

function special(content, id) {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
}

function settings(added) {
  return {
    tokenizer_class: "Qwen2Tokenizer",
    added_tokens_decoder: Object.fromEntries(added.map(({ id, ...rest }) => [id, rest])),
    eos_token: "<|im_end|>",
    pad_token: "<|endoftext|>",
    bos_token: null,
    unk_token: null,
    add_bos_token: false,
    model_max_length: 32768,
    chat_template:
      "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}" +
      "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}" +
      "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
  };
}

function json(value) {
  return `${JSON.stringify(value, null, 2)}\n`;
}
