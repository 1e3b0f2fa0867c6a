import { quote } from "../core/errors.ts";
import type { StoredTensor } from "../core/tensor.ts";
import { type IntegerStorage, PARTS } from "../nn/params.ts";
import { malformed } from "./faults.ts";
import type { IntegerForm } from "./forms.ts";
import { INT4_BLOCKS, type Int4Block } from "./quantise.ts";

export type Storage = "dense" | IntegerStorage;

const PART_NAME = /^(.+)\.(int4|int8)(_scales)?$/;

/** Which matrix a tensor is a part of, and as what; undefined for a tensor that is stored dense. */
export function partOf(
  name: string,
): { matrix: string; storage: IntegerStorage; isScales: boolean } | undefined {
  const [, matrix, storage, scales] = PART_NAME.exec(name) ?? [];
  if (matrix === undefined) return undefined;
  return { matrix, storage: storage as IntegerStorage, isScales: scales !== undefined };
}

/** Shapes of the two parts of a matrix [rows, columns]. */
export function partShapes(form: IntegerForm, rows: number, columns: number) {
  if (form.storage === "int8") return { values: [columns, rows], scales: [rows] };
  const blocks = columns / form.block;
  return { values: [rows, blocks, form.block / 2], scales: [rows, blocks] };
}

/** Weights of a scale, as the shape of an int4 matrix's values tells; undefined for a number that no block has. */
export function blockOfShape([, , bytes = 0]: readonly number[]): Int4Block | undefined {
  return INT4_BLOCKS.find((block) => block === 2 * bytes);
}

/**
 * The tensors by the names and in the shapes that the model knows: dense ones as they are, a quantised matrix
 * once, as if it were f32 [out, in]. For checking and counting; such a tensor's bytes are those of its integers.
 * @throws OryxError `weights_malformed` when a part lacks its other one, or does not fit it
 */
export function asMatrices(
  tensors: ReadonlyMap<string, StoredTensor>,
  file: string,
): Map<string, StoredTensor> {
  const matrices = new Map<string, StoredTensor>();
  for (const [name, tensor] of tensors) {
    const part = partOf(name);
    if (part === undefined) {
      matrices.set(name, tensor);
      continue;
    }
    const { matrix, storage, isScales } = part;
    const other = tensors.get(matrix + PARTS[storage][isScales ? "values" : "scales"]);
    if (other === undefined) throw malformed(file, `tensor ${quote(name)} stands alone`);
    if (isScales) continue;
    const shape = matrixShape(storage, tensor, other);
    if (shape === undefined)
      throw malformed(file, `the ${storage} parts of ${quote(matrix)} do not fit each other`);
    const before = tensors.get(matrix) ?? matrices.get(matrix);
    if (before !== undefined && (tensors.has(matrix) || `${before.shape}` !== `${shape}`)) {
      throw malformed(file, `tensor ${quote(matrix)} is there twice, and not as one matrix`);
    }
    matrices.set(matrix, { dtype: "f32", shape, bytes: tensor.bytes });
  }
  return matrices;
}

/** Shape [out, in] that both parts agree on. */
function matrixShape(
  storage: IntegerStorage,
  values: StoredTensor,
  scales: StoredTensor,
): readonly number[] | undefined {
  const form = formOf(storage, values.shape);
  if (form === undefined) return undefined;
  const [a = 0, b = 0] = values.shape;
  const [rows, columns] = form.storage === "int4" ? [a, b * form.block] : [b, a];
  const shapes = partShapes(form, rows, columns);
  const fits =
    values.dtype === (storage === "int4" ? "u8" : "i8") &&
    scales.dtype === "f32" &&
    `${values.shape}` === `${shapes.values}` &&
    `${scales.shape}` === `${shapes.scales}`;
  return fits ? [rows, columns] : undefined;
}

function formOf(storage: IntegerStorage, values: readonly number[]): IntegerForm | undefined {
  if (storage === "int8") return { storage };
  const block = blockOfShape(values);
  return block && { storage, block };
}

/** All tensors that are, or are parts of, those of `matrices`. */
export function partsOf(
  matrices: ReadonlyMap<string, unknown>,
  tensors: ReadonlyMap<string, StoredTensor>,
): Map<string, StoredTensor> {
  return new Map([...tensors].filter(([name]) => matrices.has(partOf(name)?.matrix ?? name)));
}
