import { closeSync, openSync, writeSync } from "node:fs";

/** Value types of GGUF's metadata. Source: the format's description, ggml/docs/gguf.md. */
const TYPE = { u32: 4, i32: 5, f32: 6, string: 8, array: 9 };
const F32 = 0;
const Q4_0 = 2;
/** A block of Q4_0: an f16 scale, and 32 weights of 4 bits. */
const BLOCK_WEIGHTS = 32;
const BLOCK_BYTES = 18;
const ALIGNMENT = 32;
/** Token types of the vocabulary. */
const NORMAL = 1;
const CONTROL = 3;

/**
 * Writes a language model of random weights as GGUF, all matrices Q4_0.
 * @param {string} path
 * @param {{ hidden: number, mlp: number, layers: number, heads: number, kvHeads: number, vocabulary: number }} shape
 *   of a model whose embedding is its head
 */
export function writeGguf(path, shape) {
  const tensors = tensorsOf(shape);
  const head = Buffer.concat([
    Buffer.from("GGUF"),
    u32(3),
    u64(tensors.length),
    ...metadata(shape),
    ...tensorTable(tensors),
  ]);
  const file = openSync(path, "w");
  try {
    writeSync(file, head);
    let at = aligned(head.length);
    const noise = { [F32]: floats(), [Q4_0]: blocks() };
    tensors.forEach(({ type, bytes, value }, i) => {
      const tile = value === undefined ? noise[type] : floats(value);
      // Each begins elsewhere in the noise, so that no two are alike.
      writeRepeated(file, tile, (i * 36 * 1009) % tile.length, at, bytes);
      at = aligned(at + bytes);
    });
    writeSync(file, Buffer.alloc(1), 0, 1, at); // the last tensor's padding
  } finally {
    closeSync(file);
  }
}

function tensorsOf({ hidden, mlp, layers, heads, kvHeads, vocabulary }) {
  const d = hidden / heads;
  const matrix = (name, rows, columns) => ({
    name: `${name}.weight`,
    dims: [columns, rows], // ggml names the fastest first
    type: Q4_0,
    bytes: ((rows * columns) / BLOCK_WEIGHTS) * BLOCK_BYTES,
  });
  const vector = (name, size, value) => ({ name, dims: [size], type: F32, bytes: 4 * size, value });
  const layer = (n) => [
    vector(`blk.${n}.attn_norm.weight`, hidden, 1),
    matrix(`blk.${n}.attn_q`, heads * d, hidden),
    vector(`blk.${n}.attn_q.bias`, heads * d),
    matrix(`blk.${n}.attn_k`, kvHeads * d, hidden),
    vector(`blk.${n}.attn_k.bias`, kvHeads * d),
    matrix(`blk.${n}.attn_v`, kvHeads * d, hidden),
    vector(`blk.${n}.attn_v.bias`, kvHeads * d),
    matrix(`blk.${n}.attn_output`, hidden, heads * d),
    vector(`blk.${n}.ffn_norm.weight`, hidden, 1),
    matrix(`blk.${n}.ffn_gate`, mlp, hidden),
    matrix(`blk.${n}.ffn_up`, mlp, hidden),
    matrix(`blk.${n}.ffn_down`, hidden, mlp),
  ];
  return [
    matrix("token_embd", vocabulary, hidden),
    ...Array.from({ length: layers }, (_, n) => layer(n)).flat(),
    vector("output_norm.weight", hidden, 1),
  ];
}

/** The count of entries, and the entries. */
function metadata({ hidden, mlp, layers, heads, kvHeads, vocabulary }) {
  const end = vocabulary - 1;
  const words = Array.from({ length: vocabulary }, (_, i) => (i === end ? "<end>" : `w${i.toString(36)}`));
  const entries = [
    ["general.architecture", TYPE.string, string("qwen2")],
    ["general.name", TYPE.string, string("random")],
    ["general.file_type", TYPE.u32, u32(2)],
    ["qwen2.block_count", TYPE.u32, u32(layers)],
    ["qwen2.context_length", TYPE.u32, u32(32768)],
    ["qwen2.embedding_length", TYPE.u32, u32(hidden)],
    ["qwen2.feed_forward_length", TYPE.u32, u32(mlp)],
    ["qwen2.attention.head_count", TYPE.u32, u32(heads)],
    ["qwen2.attention.head_count_kv", TYPE.u32, u32(kvHeads)],
    ["qwen2.attention.layer_norm_rms_epsilon", TYPE.f32, f32(1e-6)],
    ["qwen2.rope.freq_base", TYPE.f32, f32(1e6)],
    ["tokenizer.ggml.model", TYPE.string, string("gpt2")],
    ["tokenizer.ggml.pre", TYPE.string, string("qwen2")],
    ["tokenizer.ggml.tokens", TYPE.array, array(TYPE.string, words.map(string))],
    [
      "tokenizer.ggml.token_type",
      TYPE.array,
      array(
        TYPE.i32,
        words.map((_, i) => u32(i === end ? CONTROL : NORMAL)),
      ),
    ],
    ["tokenizer.ggml.merges", TYPE.array, array(TYPE.string, [string("w 0")])],
    ["tokenizer.ggml.bos_token_id", TYPE.u32, u32(end)],
    ["tokenizer.ggml.eos_token_id", TYPE.u32, u32(end)],
  ];
  return [u64(entries.length), ...entries.flatMap(([key, type, value]) => [string(key), u32(type), value])];
}

function tensorTable(tensors) {
  let offset = 0;
  return tensors.flatMap(({ name, dims, type, bytes }) => {
    const entry = [string(name), u32(dims.length), ...dims.map(u64), u32(type), u64(offset)];
    offset = aligned(offset + bytes);
    return entry;
  });
}

const NOISE = 65_537 * 18;

/** Blocks of Q4_0 whose weights spread as a new model's do. */
function blocks() {
  const bytes = Buffer.alloc(NOISE);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.random() * 256;
  // f16 between 2^-8 and 2^-7: the weights' deviation of 0.02 over that of 16 equally frequent numbers.
  for (let i = 0; i < bytes.length; i += BLOCK_BYTES) bytes[i + 1] = 0x1c | (bytes[i + 1] & 3);
  return bytes;
}

function floats(value) {
  const length = NOISE / 6;
  const values = Float32Array.from({ length }, () => value ?? 0.04 * (Math.random() - 0.5));
  return Buffer.from(values.buffer);
}

function writeRepeated(file, tile, start, offset, length) {
  for (let done = 0, at = start; done < length; at = 0) {
    const count = Math.min(length - done, tile.length - at);
    writeSync(file, tile, at, count, offset + done);
    done += count;
  }
}

const aligned = (offset) => Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
const number = (bytes, write) => {
  const b = Buffer.alloc(bytes);
  write(b);
  return b;
};
const u32 = (n) => number(4, (b) => b.writeUInt32LE(n));
const u64 = (n) => number(8, (b) => b.writeBigUInt64LE(BigInt(n)));
const f32 = (x) => number(4, (b) => b.writeFloatLE(x));
const string = (text) => Buffer.concat([u64(Buffer.byteLength(text)), Buffer.from(text)]);
const array = (type, values) => Buffer.concat([u32(type), u64(values.length), ...values]);
