/** A stretch of input: token ids, or rows of visual tokens f32 [count, width]. */
export type Stretch = { ids: readonly number[] } | { visual: Float32Array; count: number };

/** What one step of the language graph is fed. */
export interface Chunk {
  ids: BigInt64Array;
  /** Rows of visual tokens, [visuals, width]. */
  visual: Float32Array;
  visuals: number;
  /** Which row of (ids, then visual) stands at each place. */
  order: BigInt64Array;
}

const lengthOf = (s: Stretch): number => ("ids" in s ? s.ids.length : s.count);

/** Tokens of a sequence. */
export function sequenceLength(sequence: readonly Stretch[]): number {
  return sequence.reduce((n, s) => n + lengthOf(s), 0);
}

/** Cuts a sequence into chunks; `size(done)` says how long the next may be once `done` tokens are behind it. */
export function* chunks(
  sequence: readonly Stretch[],
  width: number,
  size: (done: number) => number,
): Generator<Chunk> {
  const total = sequenceLength(sequence);
  let done = 0;
  while (done < total) {
    const length = Math.min(total - done, Math.max(1, size(done)));
    yield chunkOf(cut(sequence, done, length), width);
    done += length;
  }
}

/** The stretches of sequence[start, start + length). Visual rows are views, not copies. */
function cut(sequence: readonly Stretch[], start: number, length: number): Stretch[] {
  const parts: Stretch[] = [];
  let at = 0;
  for (const s of sequence) {
    const from = Math.max(0, start - at);
    const to = Math.min(lengthOf(s), start + length - at);
    if (from < to) {
      if ("ids" in s) parts.push({ ids: s.ids.slice(from, to) });
      else {
        const width = s.visual.length / s.count;
        parts.push({ visual: s.visual.subarray(from * width, to * width), count: to - from });
      }
    }
    at += lengthOf(s);
  }
  return parts;
}

function chunkOf(parts: readonly Stretch[], width: number): Chunk {
  const ids = parts.flatMap((p) => ("ids" in p ? p.ids : []));
  const visuals = parts.flatMap((p) => ("ids" in p ? [] : [p]));
  const count = visuals.reduce((n, v) => n + v.count, 0);
  const order = new BigInt64Array(ids.length + count);
  let [at, text, picture] = [0, 0, ids.length];
  for (const p of parts) {
    for (let i = lengthOf(p); i > 0; i--) order[at++] = BigInt("ids" in p ? text++ : picture++);
  }
  return {
    ids: BigInt64Array.from(ids, BigInt),
    visual: join(visuals, count * width),
    visuals: count,
    order,
  };
}

/** One stretch is used where it lies; several are copied together. */
function join(parts: readonly { visual: Float32Array }[], length: number): Float32Array {
  if (parts.length === 1 && parts[0] !== undefined) return parts[0].visual;
  const all = new Float32Array(length);
  let at = 0;
  for (const { visual } of parts) {
    all.set(visual, at);
    at += visual.length;
  }
  return all;
}
