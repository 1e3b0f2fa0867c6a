import { create, toBinary } from "@bufbuild/protobuf";
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  type GraphProto,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProto_DataType,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "../../src/onnx/onnx_pb.ts";

/** Small ONNX models written by hand, so that tests of the runtime do not depend on the graph layers. */

type Type = keyof typeof TensorProto_DataType;

/** A named value of the graph; a dimension that is a string is dynamic. */
export function value(name: string, dims: (number | string)[], type: Type = "FLOAT"): ValueInfoProto {
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: "tensorType",
        value: {
          elemType: TensorProto_DataType[type],
          shape: {
            dim: dims.map((d) =>
              typeof d === "string"
                ? { value: { case: "dimParam" as const, value: d } }
                : { value: { case: "dimValue" as const, value: BigInt(d) } },
            ),
          },
        },
      },
    },
  });
}

export function node(
  opType: string,
  input: string[],
  output: string[],
  attribute: AttributeProto[] = [],
  domain = "",
): NodeProto {
  return create(NodeProtoSchema, { opType, input, output, attribute, domain });
}

export function int(name: string, i: number): AttributeProto {
  return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: BigInt(i) });
}

export function ints(name: string, values: number[]): AttributeProto {
  return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: values.map(BigInt) });
}

export function subgraph(name: string, g: GraphProto): AttributeProto {
  return create(AttributeProtoSchema, { name, type: AttributeType.GRAPH, g });
}

/** An initializer whose bytes lie elsewhere. */
export function weight(name: string, dims: number[], type: Type): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: TensorProto_DataType[type],
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: [{ key: "location", value: name }],
  });
}

export function graph(
  node: NodeProto[],
  input: ValueInfoProto[],
  output: ValueInfoProto[],
  initializer: TensorProto[] = [],
): GraphProto {
  return create(GraphProtoSchema, { name: "g", node, input, output, initializer });
}

export function model(g: GraphProto): Uint8Array {
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 10n,
      opsetImport: [
        { domain: "", version: 21n },
        { domain: "com.microsoft", version: 1n },
      ],
      graph: g,
    }),
  );
}
