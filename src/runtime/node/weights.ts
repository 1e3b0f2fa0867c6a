import { closeSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { parse, relative, sep } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import koffi from "koffi";
import { DTYPE_BYTES, ONNX_DTYPE } from "../../core/dtype.ts";
import { OryxError } from "../../core/errors.ts";
import type { FileRange, StoredTensor } from "../../core/tensor.ts";
import { elementCount } from "../../core/tensor.ts";
import {
  type ModelProto,
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
} from "../../onnx/onnx_pb.ts";
import type { RuntimeModel } from "../session.ts";
import type { Handle, Ort } from "./ort.ts";
import { cString, type TensorBridge } from "./tensors.ts";

/** A model whose weights ONNX Runtime can find. */
export interface PlacedModel {
  /** The ONNX bytes; weights in files are named by paths relative to `folder`. */
  onnx: Uint8Array;
  /** Root of the file system (or of a Windows drive) in which the weight files lie. */
  folder: string | undefined;
  /** The files that it is read from, links resolved. */
  paths: ReadonlySet<string>;
  /** Weights that must be handed over in memory, by initializer name. */
  inMemory: ReadonlyMap<string, StoredTensor & { bytes: Uint8Array }>;
}

/**
 * Writes the place of every external weight into the model. ONNX Runtime maps files into memory itself, and then
 * reads a published bf16 file without any copy; it accepts only paths below one folder and follows no links
 * out of it, so the folder is the root, and links are resolved here. What it cannot map (weights in memory, on
 * another drive, or at an address that is unfit for the element type) is handed over in memory: one copy.
 *
 * @throws OryxError `weights_missing`, `weights_mismatch`, `weights_malformed` (a range beyond its file's end).
 */
export function placeWeights(model: RuntimeModel): PlacedModel {
  const proto = parseModel(model.onnx);
  const files = new WeightFiles();
  const inMemory = new Map<string, StoredTensor & { bytes: Uint8Array }>();
  for (const tensor of proto.graph?.initializer ?? []) {
    if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) continue;
    const stored = model.weights.get(tensor.name);
    if (!stored) throw weightError("weights_missing", tensor.name, "is not among the weights");
    checkFits(tensor, stored);
    if (stored.bytes instanceof Uint8Array) {
      inMemory.set(tensor.name, { ...stored, bytes: stored.bytes });
      continue;
    }
    const location = stored.bytes.offset % DTYPE_BYTES[stored.dtype] === 0 && files.locate(stored.bytes);
    if (location) setLocation(tensor, location, stored.bytes);
    else inMemory.set(tensor.name, { ...stored, bytes: files.read(stored.bytes) });
  }
  return { onnx: toBinary(ModelProtoSchema, proto), folder: files.folder, paths: files.paths, inMemory };
}

/**
 * Hands the in-memory weights of a model to session options. ONNX Runtime copies them when the session is
 * made, so `release` must be called after that, and never before.
 */
export function addInMemoryWeights(
  ort: Ort,
  bridge: TensorBridge,
  options: Handle,
  weights: PlacedModel["inMemory"],
): { release(): void } {
  const names: bigint[] = [];
  const values: Handle[] = [];
  const memory: Uint8Array[] = []; // referenced until then, so that no garbage collection takes it
  const keep = (bytes: Uint8Array): Uint8Array => {
    memory.push(bytes);
    return bytes;
  };
  const release = (): void => {
    for (const value of values.splice(0)) ort.ReleaseValue(value);
    memory.length = 0;
  };
  try {
    for (const [name, { dtype, shape, bytes }] of weights) {
      names.push(koffi.address(keep(cString(name))));
      const data = keep(aligned(bytes, DTYPE_BYTES[dtype]));
      values.push(bridge.overMemory(data, data.byteLength, dtype, shape, name));
    }
    const [nameList, valueList] = [BigUint64Array.from(names), BigUint64Array.from(values)];
    ort.AddExternalInitializers(options, nameList, valueList, values.length);
  } catch (error) {
    release();
    throw error;
  }
  return { release };
}

/** The files that hold weights: links resolved, sizes known. */
class WeightFiles {
  /** The root that all located files share; undefined while there is none. */
  folder: string | undefined;
  readonly #files = new Map<string, { path: string; byteLength: number }>();

  get paths(): ReadonlySet<string> {
    return new Set([...this.#files.values()].map((file) => file.path));
  }

  /** Path of a range's file relative to `folder`, with forward slashes; undefined when it is on another drive. */
  locate(range: FileRange): string | undefined {
    const { path } = this.#open(range);
    const { root } = parse(path);
    this.folder ??= root;
    if (root !== this.folder) return undefined;
    return relative(root, path).split(sep).join("/");
  }

  /** Reads a range into memory. */
  read(range: FileRange): Uint8Array {
    const { path } = this.#open(range);
    const bytes = new Uint8Array(range.byteLength);
    const file = openSync(path, "r");
    try {
      for (let done = 0; done < bytes.length; ) {
        const count = readSync(
          file,
          bytes,
          done,
          Math.min(bytes.length - done, 1 << 30),
          range.offset + done,
        );
        if (count === 0) throw shortFile(path, range);
        done += count;
      }
    } finally {
      closeSync(file);
    }
    return bytes;
  }

  #open(range: FileRange): { path: string; byteLength: number } {
    let file = this.#files.get(range.path);
    if (!file) {
      try {
        const path = realpathSync(range.path);
        file = { path, byteLength: statSync(path).size };
      } catch (cause) {
        throw new OryxError(
          "weights_missing",
          `the weight file ${range.path} cannot be read`,
          "check the model folder",
          { cause },
        );
      }
      this.#files.set(range.path, file);
    }
    if (!(range.offset >= 0 && range.offset + range.byteLength <= file.byteLength)) {
      throw shortFile(file.path, range);
    }
    return file;
  }
}

/** @throws OryxError `runtime_failed`: these bytes are no ONNX model */
export function parseModel(onnx: Uint8Array): ModelProto {
  try {
    return fromBinary(ModelProtoSchema, onnx);
  } catch (cause) {
    throw new OryxError(
      "runtime_failed",
      "the model is not a serialised ONNX model",
      "make the model again",
      {
        cause,
      },
    );
  }
}

function checkFits(tensor: TensorProto, stored: StoredTensor): void {
  const declared = tensor.dims.map(Number);
  const is = `${stored.dtype} [${stored.shape}]`;
  if (tensor.dataType !== ONNX_DTYPE[stored.dtype] || `${declared}` !== `${stored.shape}`) {
    const wanted = `element type ${tensor.dataType} [${declared}]`;
    throw weightError("weights_mismatch", tensor.name, `is ${is}, and the model wants ${wanted}`);
  }
  const wanted = elementCount(stored.shape) * DTYPE_BYTES[stored.dtype];
  if (stored.bytes.byteLength !== wanted) {
    const problem = `${is} has ${stored.bytes.byteLength} bytes instead of ${wanted}`;
    throw weightError("weights_malformed", tensor.name, problem);
  }
}

function setLocation(tensor: TensorProto, location: string, { offset, byteLength }: FileRange): void {
  tensor.externalData = Object.entries({ location, offset, length: byteLength }).map(([key, value]) =>
    create(StringStringEntryProtoSchema, { key, value: `${value}` }),
  );
}

/** The same bytes at an address that is a multiple of `unit`; copied only when they are not there already. */
function aligned(bytes: Uint8Array, unit: number): Uint8Array {
  return bytes.byteOffset % unit === 0 ? bytes : bytes.slice();
}

function weightError(
  code: "weights_missing" | "weights_mismatch" | "weights_malformed",
  name: string,
  problem: string,
): OryxError {
  return new OryxError(code, `weight ${name} ${problem}`, "check that the weights belong to this model");
}

function shortFile(path: string, { offset, byteLength }: FileRange): OryxError {
  return new OryxError(
    "weights_malformed",
    `${path} ends before the tensor at bytes ${offset} to ${offset + byteLength}`,
    "download the file again",
  );
}
