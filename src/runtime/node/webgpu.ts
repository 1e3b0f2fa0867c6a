import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { TensorData } from "../../core/tensor.ts";
import {
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataType as DataType,
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  TensorProtoSchema,
} from "../../onnx/onnx_pb.ts";
import type { Session } from "../session.ts";

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

type NodeAttributes = NonNullable<MessageInitShape<typeof NodeProtoSchema>["attribute"]>;

const int = (name: string, i: bigint) => ({ name, type: AttributeType.INT, i });
const ints = (name: string, values: bigint[]) => ({ name, type: AttributeType.INTS, ints: values });

// -------------------------------------------------------------------------------------------------- probe

/** Positions and width of the probe: the least from which ONNX Runtime takes the flash kernel, and one head. */
const [PROBE_LENGTH, PROBE_WIDTH] = [32, 8];

/** A model of one attention: `x` [1, 32, 8] over itself makes `y`. */
export const ATTENTION_PROBE: Uint8Array = probe();

function probe(): Uint8Array {
  const dims = [1, PROBE_LENGTH, PROBE_WIDTH];
  const dim = dims.map((d) => ({ value: { case: "dimValue" as const, value: BigInt(d) } }));
  const type = {
    value: { case: "tensorType" as const, value: { elemType: DataType.FLOAT, shape: { dim } } },
  };
  const attention = {
    opType: "MultiHeadAttention",
    domain: "com.microsoft",
    input: ["x", "x", "x"],
    output: ["y"],
    attribute: [int("num_heads", 1n)],
  };
  const graph = {
    name: "probe",
    node: [attention],
    input: [{ name: "x", type }],
    output: [{ name: "y", type }],
  };
  const opsetImport = [
    { domain: "", version: 17n },
    { domain: "com.microsoft", version: 1n },
  ];
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, { irVersion: 8n, opsetImport, graph: create(GraphProtoSchema, graph) }),
  );
}

/** Whether a session of {@link ATTENTION_PROBE} computes attention. */
export async function attends(session: Session): Promise<boolean> {
  const shape = [1, PROBE_LENGTH, PROBE_WIDTH];
  const data = Float32Array.from({ length: PROBE_LENGTH * PROBE_WIDTH }, (_, i) => Math.sin(i * i));
  const x: TensorData = { dtype: "f32", shape, data };
  const { y } = await session.run({ x }, { y: "fresh" });
  const expected = selfAttention(data, PROBE_LENGTH, PROBE_WIDTH);
  return y !== undefined && expected.every((value, i) => Math.abs(Number(y.data[i]) - value) < 1e-3);
}

/** softmax(x x^T / sqrt(width)) x for x [length, width], by the definition. */
function selfAttention(x: Float32Array, length: number, width: number): number[] {
  const rows = Array.from({ length }, (_, i) => Array.from(x.subarray(i * width, (i + 1) * width)));
  return rows.flatMap((q) => {
    const weights = rows.map((k) => Math.exp(k.reduce((s, v, c) => s + v * q[c]!, 0) / Math.sqrt(width)));
    const total = weights.reduce((a, b) => a + b);
    return q.map((_, c) => rows.reduce((s, v, j) => s + weights[j]! * v[c]!, 0) / total);
  });
}
