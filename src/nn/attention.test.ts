import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Random } from "../core/random.ts";
import type { TensorData } from "../core/tensor.ts";
import { symbol, times } from "../graph/dim.ts";
import { groupQueryAttention, multiHeadAttention, range, reshape, slice, split } from "../graph/ops.ts";
import { input, type Tensor } from "../graph/tensor.ts";
import { emitOnnx } from "../onnx/emit.ts";
import { createNodeRuntime } from "../runtime/node/runtime.ts";
import type { Runtime, Session } from "../runtime/session.ts";
import {
  CAUSAL_BLOCKS,
  cachedAttention,
  causalAttention,
  causalMask,
  causalMasks,
  promptAttention,
  promptMask,
  rotary,
  rotate,
} from "./attention.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createNodeRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

type Matrix = number[][];

function randomMatrix(random: Random, rows: number, columns: number): Matrix {
  return Array.from({ length: rows }, () => Array.from({ length: columns }, () => 2 * random.next() - 1));
}

const tensor = (shape: number[], rows: Matrix): TensorData => ({
  dtype: "f32",
  shape,
  data: Float32Array.from(rows.flat()),
});

/** Attention by the textbook, one query row after another: the slower truth. */
function attendByHand(q: number[], keys: Matrix, values: Matrix): number[] {
  const scores = keys.map((k) => k.reduce((s, x, i) => s + x * (q[i] as number), 0) / Math.sqrt(q.length));
  const highest = Math.max(...scores);
  const weights = scores.map((s) => Math.exp(s - highest));
  const total = weights.reduce((a, b) => a + b);
  return q.map((_, i) =>
    values.reduce((s, v, j) => s + ((weights[j] as number) * (v[i] as number)) / total, 0),
  );
}

function expectClose(actual: ArrayLike<number | bigint>, expected: number[]): void {
  const worst = expected.reduce((w, x, i) => Math.max(w, Math.abs(x - Number(actual[i]))), 0);
  expect(actual.length).toBe(expected.length);
  expect(worst).toBeLessThan(1e-5);
}

describe.each(["a few", "many"])(
  "grouped-query attention over a cache, in the form for %s new positions,",
  (form) => {
    const [heads, kvHeads, d] = [6, 2, 4];
    const group = heads / kvHeads;
    let session: Session;
    beforeAll(async () => {
      const [length, past] = [symbol("length"), symbol("past")];
      const q = input("q", "f32", [heads, length, d]);
      const rows = (name: string, count: typeof length) =>
        Array.from({ length: kvHeads }, (_, h) => input(`${name}${h}`, "f32", [count, d]));
      const fresh = { keys: rows("k", length), values: rows("v", length) };
      const cached = { keys: rows("pk", past), values: rows("pv", past) };
      const y =
        form === "many"
          ? promptAttention(q, fresh, cached, promptMask(past, length))
          : cachedAttention(q, fresh, cached, causalMask(length));
      session = await runtime.load(emitOnnx({ outputs: { y }, sizes: [] }));
    });

    it("equals the textbook's, for every number of cached and new positions, none cached included", async () => {
      const count = fc.integer({ min: 0, max: 20 });
      await fc.assert(
        fc.asyncProperty(count, count, fc.nat(), async (past, more, seed) => {
          const length = more + 1;
          const random = new Random(seed);
          const q = Array.from({ length: heads }, () => randomMatrix(random, length, d));
          const [keys, values] = [0, 1].map(() =>
            Array.from({ length: kvHeads }, () => randomMatrix(random, past + length, d)),
          ) as [Matrix[], Matrix[]];
          const inputs: Record<string, TensorData> = { q: tensor([heads, length, d], q.flat()) };
          for (let h = 0; h < kvHeads; h++) {
            for (const [name, all] of [
              ["k", keys[h]],
              ["v", values[h]],
            ] as [string, Matrix][]) {
              inputs[`p${name}${h}`] = tensor([past, d], all.slice(0, past));
              inputs[`${name}${h}`] = tensor([length, d], all.slice(past));
            }
          }
          const { y } = await session.run(inputs, { y: "fresh" });
          const expected = q.flatMap((rows, head) => {
            const kv = Math.floor(head / group);
            return rows.flatMap((row, i) =>
              attendByHand(
                row,
                (keys[kv] as Matrix).slice(0, past + i + 1),
                (values[kv] as Matrix).slice(0, past + i + 1),
              ),
            );
          });
          expectClose((y as TensorData).data, expected);
        }),
        { numRuns: 40 },
      );
    });
  },
);

describe("grouped-query attention that extends a cache in place", () => {
  const [heads, kvHeads, d, capacity] = [6, 2, 16, 64];
  const THETA = 1000;

  /** A head's row at a position, its first half rotated against its second. */
  function turned(row: readonly number[], position: number): number[] {
    const half = row.length / 2;
    return row.map((x, i) => {
      const angle = position * THETA ** (-(i % half) / half);
      const other = i < half ? -(row[i + half] as number) : (row[i - half] as number);
      return x * Math.cos(angle) + other * Math.sin(angle);
    });
  }

  it("equals the textbook's, step after step, queries and keys rotated", async () => {
    const rows = (name: string, width: number) => input(name, "f32", [1, symbol("length"), width]);
    const shape = [1, kvHeads, symbol("capacity"), d];
    const { attended, keys, values } = groupQueryAttention(
      rows("q", heads * d),
      rows("k", kvHeads * d),
      rows("v", kvHeads * d),
      {
        keys: input("keys", "f32", shape),
        values: input("values", "f32", shape),
        last: input("last", "i32", [1]),
        total: input("total", "i32", [1]),
      },
      rotary(input("positions", "i64", [symbol("total")]), d, THETA),
    );
    const outputs = { attended, "more keys": keys, "more values": values };
    const session = await runtime.load(emitOnnx({ outputs, sizes: [] }));
    const random = new Random(3);
    const [allK, allV] = [1, 2].map(() => randomMatrix(random, capacity, kvHeads * d)) as [Matrix, Matrix];
    const part = (row: number[], head: number) => row.slice(head * d, (head + 1) * d);
    const cacheShape = [1, kvHeads, capacity, d];
    const [pastK, pastV] = [
      await session.allocate("f32", cacheShape),
      await session.allocate("f32", cacheShape),
    ];
    let done = 0;
    for (const count of [5, 1, 1, 30, 7, 20]) {
      const q = randomMatrix(random, count, heads * d);
      const fed = (all: Matrix) => tensor([1, count, kvHeads * d], all.slice(done, done + count));
      const place = (i: number): TensorData => ({ dtype: "i32", shape: [1], data: Int32Array.of(i) });
      const inputs = {
        q: tensor([1, count, heads * d], q),
        k: fed(allK),
        v: fed(allV),
        keys: pastK,
        values: pastV,
        positions: {
          dtype: "i64",
          shape: [done + count],
          data: BigInt64Array.from({ length: done + count }, (_, i) => BigInt(i)),
        } as const,
        last: place(done + count - 1),
        total: place(done + count),
      };
      const result = await session.run(inputs, {
        attended: "fresh",
        "more keys": pastK,
        "more values": pastV,
      });
      const expected = q.flatMap((row, i) =>
        Array.from({ length: heads }, (_, head) => {
          const kv = Math.floor(head / (heads / kvHeads));
          const seen = (all: Matrix) => all.slice(0, done + i + 1).map((other) => part(other, kv));
          const rotatedKeys = seen(allK).map(turned);
          return attendByHand(turned(part(row, head), done + i), rotatedKeys, seen(allV));
        }).flat(),
      );
      expectClose((result.attended as TensorData).data, expected);
      done += count;
    }
    await session.close();
  });
});

describe("attention within an image", () => {
  it("equals the textbook's, for each image of the batch by itself", async () => {
    const [n, length, heads, d] = [2, 9, 3, 4];
    const random = new Random(5);
    const [q, k, v] = [0, 1, 2].map(() => randomMatrix(random, n * length, heads * d)) as [
      Matrix,
      Matrix,
      Matrix,
    ];
    const t = (name: string) => input(name, "f32", [symbol("n"), symbol("length"), heads * d]);
    const y = multiHeadAttention(t("q"), t("k"), t("v"), heads);
    const session = await runtime.load(emitOnnx({ outputs: { y }, sizes: [] }));
    const shape = [n, length, heads * d];
    const inputs = { q: tensor(shape, q), k: tensor(shape, k), v: tensor(shape, v) };
    const result = await session.run(inputs, { y: "fresh" });
    const head = (rows: Matrix, h: number) => rows.map((row) => row.slice(h * d, (h + 1) * d));
    const expected = Array.from({ length: n }, (_, image) => {
      const own = (rows: Matrix) => rows.slice(image * length, (image + 1) * length);
      return own(q).map((row) =>
        Array.from({ length: heads }, (_, h) =>
          attendByHand(row.slice(h * d, (h + 1) * d), head(own(k), h), head(own(v), h)),
        ),
      );
    });
    expectClose((result.y as TensorData).data, expected.flat(3));
  });
});

describe("rotary positions", () => {
  it("rotate each pair (i, i + d/2) by position * theta^(-2i/d)", async () => {
    const [heads, d, theta] = [2, 8, 10_000];
    const length = symbol("length");
    const x = input("x", "f32", [heads, length, d]);
    const y = rotate(x, rotary(input("positions", "i64", [length]), d, theta));
    const session = await runtime.load(emitOnnx({ outputs: { y }, sizes: [] }));
    const positions = [0, 1, 7, 900];
    const rows = randomMatrix(new Random(7), heads * positions.length, d);
    const result = await session.run(
      {
        x: tensor([heads, positions.length, d], rows),
        positions: { dtype: "i64", shape: [positions.length], data: BigInt64Array.from(positions, BigInt) },
      },
      { y: "fresh" },
    );
    const expected = rows.flatMap((row, r) =>
      row.map((value, i) => {
        const pair = i % (d / 2);
        const angle = (positions[r % positions.length] as number) * theta ** ((-2 * pair) / d);
        const other = i < d / 2 ? -(row[i + d / 2] as number) : (row[i - d / 2] as number);
        return value * Math.cos(angle) + other * Math.sin(angle);
      }),
    );
    const worst = expected.reduce(
      (w, e, i) => Math.max(w, Math.abs(e - Number((result.y as TensorData).data[i]))),
      0,
    );
    expect(worst).toBeLessThan(1e-4); // the angle of position 900 is in single precision
  });
});

describe("grouped-query attention within whole sequences", () => {
  const [heads, kvHeads, d] = [6, 2, 4];

  it("equals that of each sequence over an empty cache, rotations included", async () => {
    const [n, block] = [symbol("n"), symbol("block")];
    const length = times(CAUSAL_BLOCKS, block);
    const q = input("q", "f32", [n, heads, length, d]);
    const [k, v] = ["k", "v"].map((name) => input(name, "f32", [n, kvHeads, length, d])) as [Tensor, Tensor];
    const angles = rotary(range(length), d, 100);
    const together = causalAttention(rotate(q, angles), rotate(k, angles), v, causalMasks(block));
    const only = (t: Tensor) => reshape(t, t.shape.slice(1)); // of n = 1
    const perHead = (t: Tensor) =>
      split(t, Array<number>(kvHeads).fill(1), 0).map((head) => reshape(head, [length, d]));
    const one = (t: Tensor) => slice(t, 0, 1, 0);
    const alone = cachedAttention(
      rotate(only(one(q)), angles),
      { keys: perHead(rotate(only(one(k)), angles)), values: perHead(only(one(v))) },
      undefined,
      causalMask(length),
    );
    const session = await runtime.load(emitOnnx({ outputs: { together, alone }, sizes: [] }));
    const random = new Random(11);
    for (const [count, places] of [
      [3, 8],
      [1, CAUSAL_BLOCKS],
      [2, 20],
    ] as const) {
      const drawn = (rows: number) => randomMatrix(random, rows, d);
      const all = {
        q: drawn(count * heads * places),
        k: drawn(count * kvHeads * places),
        v: drawn(count * kvHeads * places),
      };
      const feed = (from: number, sequences: number) =>
        Object.fromEntries(
          Object.entries(all).map(([name, rows]) => {
            const size = rows.length / count;
            const shape = [sequences, size / places, places, d];
            return [name, tensor(shape, rows.slice(from * size, (from + sequences) * size))];
          }),
        );
      const batch = await session.run(feed(0, count), { together: "fresh" });
      for (let i = 0; i < count; i++) {
        const single = await session.run(feed(i, 1), { alone: "fresh" });
        const size = heads * places * d;
        expectClose(
          (batch.together as TensorData).data.slice(i * size, (i + 1) * size),
          Array.from((single.alone as TensorData).data, Number),
        );
      }
    }
    await session.close();
  });
});
