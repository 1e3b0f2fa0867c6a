import { create, toBinary } from "@bufbuild/protobuf";
import type { TensorData } from "../../core/tensor.ts";
import {
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataType as DataType,
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  TensorProtoSchema,
} from "../../onnx/onnx_pb.ts";
import type { Session } from "../session.ts";
import { type NodeAttributes, probe } from "./probe.ts";

/**
 * Where ONNX Runtime's WebGPU provider (1.30) gives other results than the CPU, and the way around. A model does
 * not know of it: what runs on a device is the runtime's affair.
 */

/** A model as the WebGPU provider should get it. */
export interface WebGpuModel {
  onnx: Uint8Array;
  /** Names of nodes that belong on the CPU. */
  cpuNodes: readonly string[];
}

/**
 * Keeps sines and cosines, and what they are computed from, on the CPU: a GPU's are exact to 2^-11, and only near
 * zero, but rotary angles reach the length of the context. They depend on positions alone, so little moves.
 *
 * @param model is changed
 * @param flashAttention whether the device computes {@link ATTENTION_PROBE} rightly; asked where a model has attention
 */
export async function adaptToWebGpu(
  model: ModelProto,
  flashAttention: () => Promise<boolean>,
): Promise<WebGpuModel> {
  const { graph } = model;
  if (graph?.node.some(isAttention) && !(await flashAttention())) {
    graph.node = graph.node.flatMap((node) => (isAttention(node) ? plainAttention(graph, node) : [node]));
  }
  const cpuNodes = graph ? ancestors(graph, ({ opType }) => opType === "Sin" || opType === "Cos") : [];
  return { onnx: toBinary(ModelProtoSchema, model), cpuNodes };
}

/** Names of the chosen nodes and of all from which they are computed. */
function ancestors({ node: nodes }: GraphProto, chosen: (node: NodeProto) => boolean): string[] {
  const makers = new Map(nodes.flatMap((node) => node.output.map((name) => [name, node] as const)));
  const found = new Set<NodeProto>();
  const visit = (node: NodeProto | undefined): void => {
    if (!node || found.has(node)) return;
    found.add(node);
    for (const name of node.input) visit(makers.get(name));
  };
  nodes.filter(chosen).forEach(visit);
  return [...found].map((node) => node.name);
}

// ---------------------------------------------------------------------------------------------- attention

const isAttention = ({ opType, domain }: NodeProto): boolean =>
  opType === "MultiHeadAttention" && domain === "com.microsoft";

/**
 * Attention in ordinary operations: its scores take memory with the square of the length, but every device has
 * them right. The flash kernel shares keys among the lanes of a subgroup and takes eight for granted; devices with
 * four (SwiftShader, the one that needs no GPU) get wrong sums from it, from 32 positions on.
 */
function plainAttention(graph: GraphProto, attention: NodeProto): NodeProto[] {
  const [q, k, v] = attention.input as [string, string, string];
  const y = attention.output[0] as string;
  const heads = attention.attribute.find(({ name }) => name === "num_heads")?.i ?? 1n;
  const local = (name: string) => `${y}.${name}`;
  const nodes: NodeProto[] = [];
  const add = (opType: string, input: string[], output: string, attributes: NodeAttributes = []): string => {
    nodes.push(
      create(NodeProtoSchema, { opType, name: output, input, output: [output], attribute: attributes }),
    );
    return output;
  };
  const shape = (name: string, dims: bigint[]): string => {
    const fields = {
      name: local(name),
      dataType: DataType.INT64,
      dims: [BigInt(dims.length)],
      int64Data: dims,
    };
    graph.initializer.push(create(TensorProtoSchema, fields));
    return fields.name;
  };
  const apart = shape("apart", [0n, 0n, heads, -1n]); // [n, length, heads, d]
  const byHead = (x: string, name: string, order: bigint[]) =>
    add("Transpose", [add("Reshape", [x, apart], local(`${name}.apart`))], local(name), [
      ints("perm", order),
    ]);

  const queries = byHead(q, "q", [0n, 2n, 1n, 3n]); // [n, heads, length, d]
  const keys = byHead(k, "k", [0n, 2n, 3n, 1n]); // [n, heads, d, length]
  const values = byHead(v, "v", [0n, 2n, 1n, 3n]);
  const d = add("Shape", [queries], local("d"), [int("start", 3n)]);
  const wide = add("Cast", [d], local("d.wide"), [int("to", BigInt(DataType.FLOAT))]);
  const scaled = add("Div", [queries, add("Sqrt", [wide], local("scale"))], local("scaled"));
  const scores = add("MatMul", [scaled, keys], local("scores"));
  const weights = add("Softmax", [scores], local("weights"), [int("axis", -1n)]);
  const attended = add("MatMul", [weights, values], local("attended"));
  const together = add("Transpose", [attended], local("together"), [ints("perm", [0n, 2n, 1n, 3n])]);
  add("Reshape", [together, shape("joined", [0n, 0n, -1n])], y);
  return nodes;
}

const int = (name: string, i: bigint) => ({ name, type: AttributeType.INT, i });
const ints = (name: string, values: bigint[]) => ({ name, type: AttributeType.INTS, ints: values });

// ------------------------------------------------------------------------------------------------- probes

/** Positions from which ONNX Runtime takes the flash kernel. */
const FLASH_LENGTH = 32;
/** Width of the probes: one head, the narrowest that has kernels. */
const PROBE_WIDTH = 16;

/** A model of one attention: `x` [1, 32, 16] over itself makes `y`. */
export const ATTENTION_PROBE: Uint8Array = probe(
  { opType: "MultiHeadAttention", input: ["x", "x", "x"], output: ["y"], attribute: [int("num_heads", 1n)] },
  [
    ["x", DataType.FLOAT, [1, FLASH_LENGTH, PROBE_WIDTH]],
    ["y", DataType.FLOAT, [1, FLASH_LENGTH, PROBE_WIDTH]],
  ],
);

/**
 * The same over a cache, which it extends: `x` [1, length, 16] behind `keys` and `values` [1, 1, capacity, 16],
 * rotated by angles whose cosines and sines are given, [total, 8].
 */
export const CACHE_PROBE: Uint8Array = probe(
  {
    opType: "GroupQueryAttention",
    input: ["x", "x", "x", "keys", "values", "last", "total", "cos", "sin"],
    output: ["y", "more keys", "more values"],
    attribute: [int("num_heads", 1n), int("kv_num_heads", 1n), int("do_rotary", 1n)],
  },
  [
    ["x", DataType.FLOAT, [1, "length", PROBE_WIDTH]],
    ["keys", DataType.FLOAT, [1, 1, "capacity", PROBE_WIDTH]],
    ["values", DataType.FLOAT, [1, 1, "capacity", PROBE_WIDTH]],
    ["last", DataType.INT32, [1]],
    ["total", DataType.INT32, [1]],
    ["cos", DataType.FLOAT, ["angles", PROBE_WIDTH / 2]],
    ["sin", DataType.FLOAT, ["angles", PROBE_WIDTH / 2]],
    ["y", DataType.FLOAT, [1, "length", PROBE_WIDTH]],
    ["more keys", DataType.FLOAT, [1, 1, "capacity", PROBE_WIDTH]],
    ["more values", DataType.FLOAT, [1, 1, "capacity", PROBE_WIDTH]],
  ],
);

/** Whether a session of {@link ATTENTION_PROBE} computes attention. */
export async function attends(session: Session): Promise<boolean> {
  const data = probeRows(FLASH_LENGTH);
  const { y } = await session.run({ x: rowsOf(data) }, { y: "fresh" });
  return (
    y !== undefined &&
    isClose(
      y,
      attentionOver(data, FLASH_LENGTH, () => FLASH_LENGTH),
    )
  );
}

/**
 * Up to how many positions a session of {@link CACHE_PROBE} may add to a cache in the device's memory at a time, with
 * right results: 0, {@link FLASH_LENGTH} - 1, or any number.
 */
export async function tokensAttended(session: Session): Promise<number> {
  if (await attendsOverCache(session, 2 * FLASH_LENGTH)) return Number.POSITIVE_INFINITY;
  return (await attendsOverCache(session, FLASH_LENGTH - 1)) ? FLASH_LENGTH - 1 : 0;
}

/** Whether attention is right for so many positions, as many behind them, and one more. */
async function attendsOverCache(session: Session, step: number): Promise<boolean> {
  const steps = [step, step, 1];
  const length = 2 * step + 1;
  const all = probeRows(length);
  const expected = attentionOver(all, length, (i) => i + 1);
  const shape = [1, 1, length, PROBE_WIDTH];
  const [keys, values] = [await session.allocate("f32", shape), await session.allocate("f32", shape)];
  try {
    let done = 0;
    for (const count of steps) {
      const [from, to] = [done * PROBE_WIDTH, (done + count) * PROBE_WIDTH];
      done += count;
      const place = { last: place32(done - 1), total: place32(done) };
      const outputs = { y: "fresh", "more keys": keys, "more values": values } as const;
      const x = rowsOf(all.subarray(from, to));
      const { y } = await session.run({ x, keys, values, ...place, ...noAngles(done) }, outputs);
      if (y === undefined || !isClose(y, expected.slice(from, to))) return false;
    }
    return true;
  } catch {
    return false; // a library or device that knows no such attention
  } finally {
    await Promise.all([keys.close(), values.close()]);
  }
}

const place32 = (i: number): TensorData => ({ dtype: "i32", shape: [1], data: Int32Array.of(i) });

const noAngles = (total: number) => {
  const shape = [total, PROBE_WIDTH / 2];
  const ones = new Float32Array((total * PROBE_WIDTH) / 2).fill(1);
  return {
    cos: { dtype: "f32", shape, data: ones },
    sin: { dtype: "f32", shape, data: new Float32Array(ones.length) },
  } as const;
};

const probeRows = (length: number) =>
  Float32Array.from({ length: length * PROBE_WIDTH }, (_, i) => Math.sin(i * i));

const rowsOf = (data: Float32Array): TensorData => ({
  dtype: "f32",
  shape: [1, data.length / PROBE_WIDTH, PROBE_WIDTH],
  data,
});

const isClose = (actual: TensorData, expected: readonly number[]): boolean =>
  expected.every((value, i) => Math.abs(Number(actual.data[i]) - value) < 1e-3);

/** softmax(x x^T / sqrt(width)) x for x [length, width], by the definition; row i sees the first `seen(i)` rows. */
function attentionOver(x: Float32Array, length: number, seen: (i: number) => number): number[] {
  const rows = Array.from({ length }, (_, i) =>
    Array.from(x.subarray(i * PROBE_WIDTH, (i + 1) * PROBE_WIDTH)),
  );
  return rows.flatMap((q, i) => {
    const visible = rows.slice(0, seen(i));
    const weights = visible.map((k) =>
      Math.exp(k.reduce((s, v, c) => s + v * q[c]!, 0) / Math.sqrt(PROBE_WIDTH)),
    );
    const total = weights.reduce((a, b) => a + b);
    return q.map((_, c) => visible.reduce((s, v, j) => s + weights[j]! * v[c]!, 0) / total);
  });
}
