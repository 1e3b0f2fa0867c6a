import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type TensorProto_DataType as DataType,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProtoSchema,
} from "../../onnx/onnx_pb.ts";

/** Models of one node, to find out how a machine computes it. */

export type NodeAttributes = NonNullable<MessageInitShape<typeof NodeProtoSchema>["attribute"]>;

/** A model of one node of ONNX Runtime's own; what of `values` is none of its outputs is fed. */
export function probe(
  node: { opType: string; input: string[]; output: string[]; attribute: NodeAttributes },
  values: [name: string, elemType: DataType, dims: (number | string)[]][],
): Uint8Array {
  const infos = values.map(([name, elemType, dims]) => {
    const dim = dims.map((d) => ({
      value:
        typeof d === "number"
          ? { case: "dimValue" as const, value: BigInt(d) }
          : { case: "dimParam" as const, value: d },
    }));
    return { name, type: { value: { case: "tensorType" as const, value: { elemType, shape: { dim } } } } };
  });
  const graph = {
    name: "probe",
    node: [{ ...node, domain: "com.microsoft" }],
    input: infos.filter(({ name }) => !node.output.includes(name)),
    output: infos.filter(({ name }) => node.output.includes(name)),
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
