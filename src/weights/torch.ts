import type { DType } from "../core/dtype.ts";
import { quote } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { elementCount, type StoredTensor } from "../core/tensor.ts";
import { malformed, unsupported } from "./faults.ts";
import {
  type PickleDict,
  PickleError,
  PickleFunction,
  type PickleHost,
  PickleTuple,
  unpickle,
} from "./pickle.ts";
import type { ByteSource } from "./source.ts";
import { tensorBytes } from "./stored.ts";
import { looksLikeZip, memberData, readZip, type ZipMember } from "./zip.ts";

/** PyTorch's storage classes, for the element types that are read here. */
const STORAGE_DTYPES: ReadonlyMap<string, DType> = new Map([
  ["DoubleStorage", "f64"],
  ["FloatStorage", "f32"],
  ["HalfStorage", "f16"],
  ["BFloat16Storage", "bf16"],
  ["LongStorage", "i64"],
  ["IntStorage", "i32"],
  ["CharStorage", "i8"],
  ["ByteStorage", "u8"],
  ["BoolStorage", "bool"],
]);

/** Keys under which training programs put the weights, when they save more than the weights. */
const WRAPPERS = ["state_dict", "model_state_dict", "model", "module"];

/** Header reads under way at once. */
const PARALLEL_READS = 32;

/**
 * Reads a `.pth` file as `torch.save` has written it since PyTorch 1.6: a zip of a pickle and one member for each
 * storage. Only the pickle and the members' headers are read. Entries of the state dict that are not tensors are
 * left out.
 * @throws OryxError `weights_malformed`; `weights_unsupported` for the format before 1.6, compressed or encrypted
 *   members, big endian
 */
export async function readTorchFrom(source: ByteSource): Promise<Map<string, StoredTensor>> {
  await checkKind(source);
  const members = await readZip(source);
  const pickles = [...members.keys()].filter((name) => /(^|\/)data\.pkl$/.test(name));
  if (pickles.length !== 1)
    throw malformed(source.name, `${pickles.length} members are named data.pkl, not one`);
  const prefix = pickles[0]!.slice(0, -"data.pkl".length);
  await checkByteOrder(source, members.get(`${prefix}byteorder`));
  const pickle = await readMember(source, members.get(pickles[0]!)!, LIMITS.pickleBytes);
  const tensors = parseStateDict(pickle, source.name);
  return locate(source, members, `${prefix}data/`, tensors);
}

async function checkKind(source: ByteSource): Promise<void> {
  const first = await source.read(0, Math.min(4, source.size));
  if (looksLikeZip(first)) return;
  if (first[0] === 0x80) {
    const remedy = "load and save it once with PyTorch 1.6 or later, or use a safetensors copy";
    throw unsupported(source.name, "a .pth file of the kind before PyTorch 1.6", remedy);
  }
  throw malformed(source.name, "not a PyTorch file");
}

async function checkByteOrder(source: ByteSource, member: ZipMember | undefined): Promise<void> {
  if (!member) return;
  const order = new TextDecoder().decode(await readMember(source, member, 100));
  if (order === "little") return;
  throw unsupported(source.name, `byte order ${quote(order)}`, "save it again on a little-endian machine");
}

async function readMember(source: ByteSource, member: ZipMember, maxBytes: number): Promise<Uint8Array> {
  if (member.size > maxBytes) throw malformed(source.name, `${quote(member.name)} has ${member.size} bytes`);
  return source.read(await memberData(source, member), member.size);
}

/** A storage as the pickle names it. */
class TorchStorage {
  readonly key: string;
  readonly dtype: DType;
  readonly elements: number;

  constructor(key: string, dtype: DType, elements: number) {
    this.key = key;
    this.dtype = dtype;
    this.elements = elements;
  }
}

/** A tensor as the pickle describes it, checked against the storage that it claims. */
export class TorchTensor {
  readonly storage: TorchStorage;
  /** In elements from the start of the storage. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(storage: TorchStorage, offset: number, shape: readonly number[], strides: readonly number[]) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

class StorageType {
  readonly dtype: DType;

  constructor(dtype: DType) {
    this.dtype = dtype;
  }
}

/** All that a pickle of weights may name. Nothing outside this list is reached, let alone called. */
const GLOBALS: ReadonlyMap<string, object> = new Map<string, object>([
  ["collections.OrderedDict", new PickleFunction(newOrderedDict)],
  ["torch._utils._rebuild_tensor_v2", new PickleFunction(rebuildTensor)],
  ["torch._utils._rebuild_parameter", new PickleFunction(rebuildParameter)],
  ...[...STORAGE_DTYPES].map(([name, dtype]) => [`torch.${name}`, new StorageType(dtype)] as const),
]);

const HOST: PickleHost = {
  global(module, name) {
    const known = GLOBALS.get(`${module}.${name}`);
    if (!known) throw new PickleError(`it uses ${quote(`${module}.${name}`)}, which weights have no need of`);
    return known;
  },
  persistent(id) {
    const [kind, type, key, , elements] = id instanceof PickleTuple && id.items.length === 5 ? id.items : [];
    if (
      kind !== "storage" ||
      !(type instanceof StorageType) ||
      typeof key !== "string" ||
      !isNatural(elements)
    ) {
      throw new PickleError("a persistent id is not that of a storage");
    }
    return new TorchStorage(key, type.dtype, elements);
  },
};

/**
 * Runs a `data.pkl` and returns the tensors it names. Pure: storages are only described.
 * @throws OryxError `weights_malformed`
 */
export function parseStateDict(pickle: Uint8Array, file: string): Map<string, TorchTensor> {
  let value: unknown;
  try {
    value = unpickle(pickle, HOST);
  } catch (error) {
    if (error instanceof PickleError) throw malformed(file, `its pickle is refused: ${error.message}`, error);
    throw error;
  }
  const tensors = new Map<string, TorchTensor>();
  for (const [name, tensor] of stateDict(value, file)) {
    if (!(tensor instanceof TorchTensor)) continue;
    if (typeof name !== "string") throw malformed(file, `a tensor's name is the number ${name}`);
    checkContiguous(name, tensor, file);
    tensors.set(name, tensor);
  }
  return tensors;
}

/** The dict that holds the tensors: the value itself, or one that lies under a well-known key, two levels at most. */
function stateDict(value: unknown, file: string): PickleDict {
  let dict = value;
  for (let level = 0; level < 3 && dict instanceof Map; level++) {
    const current: PickleDict = dict;
    if ([...current.values()].some((item) => item instanceof TorchTensor)) return current;
    dict = WRAPPERS.map((key) => current.get(key)).find((item) => item instanceof Map);
  }
  throw malformed(file, "holds no state dict");
}

function newOrderedDict(args: readonly unknown[]): PickleDict {
  if (args.length !== 0) throw new PickleError("an OrderedDict is made from something");
  return new Map();
}

/** `_rebuild_parameter(data, requires_grad, backward_hooks)`: a parameter is its tensor here. */
function rebuildParameter(args: readonly unknown[]): TorchTensor {
  const [tensor] = args;
  if (args.length !== 3 || !(tensor instanceof TorchTensor))
    throw new PickleError("a parameter is no tensor");
  return tensor;
}

/** `_rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks[, metadata])` */
function rebuildTensor(args: readonly unknown[]): TorchTensor {
  const [storage, offset, size, stride] = args;
  if (args.length < 6 || args.length > 7 || !(storage instanceof TorchStorage) || !isNatural(offset)) {
    throw new PickleError("a tensor is rebuilt from the wrong arguments");
  }
  const shape = naturals(size);
  const strides = naturals(stride);
  if (shape.length !== strides.length)
    throw new PickleError("a tensor has more sizes than strides, or fewer");
  const last =
    elementCount(shape) === 0 ? -1 : shape.reduce((at, dim, i) => at + (dim - 1) * strides[i]!, offset);
  const inside = offset <= storage.elements && last < storage.elements;
  if (tensorBytes(shape, storage.dtype) === undefined || !inside) {
    throw new PickleError(
      `a tensor [${shape}] at ${offset} reaches beyond its storage of ${storage.elements}`,
    );
  }
  return new TorchTensor(storage, offset, shape, strides);
}

function naturals(value: unknown): readonly number[] {
  const items = value instanceof PickleTuple ? value.items : [];
  const sound = value instanceof PickleTuple && items.length <= LIMITS.tensorRank && items.every(isNatural);
  if (!sound) throw new PickleError("a tensor's sizes or strides are not a short tuple of natural numbers");
  return items as readonly number[];
}

function isNatural(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Row-major, without gaps; the stride of a dimension of size 1 is never used, so it may be anything. */
function checkContiguous(name: string, { shape, strides }: TorchTensor, file: string): void {
  if (elementCount(shape) === 0) return;
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== expected) {
      const layout = `[${shape}] has strides [${strides}]`;
      throw malformed(file, `tensor ${quote(name)} is not contiguous: ${layout}; save it with .contiguous()`);
    }
    expected *= shape[i]!;
  }
}

/** Finds each tensor's bytes in the archive; a storage must be exactly as long as the pickle says. */
async function locate(
  source: ByteSource,
  members: ReadonlyMap<string, ZipMember>,
  folder: string,
  tensors: ReadonlyMap<string, TorchTensor>,
): Promise<Map<string, StoredTensor>> {
  const used = new Map<string, ZipMember>();
  for (const [name, { storage }] of tensors) {
    const member = members.get(folder + storage.key);
    const fail = (problem: string) => malformed(source.name, `tensor ${quote(name)}: storage ${problem}`);
    if (!member) throw fail(`${quote(storage.key)} is not in the file`);
    const declared = tensorBytes([storage.elements], storage.dtype);
    if (declared !== member.size) throw fail(`should have ${declared} bytes, but has ${member.size}`);
    used.set(storage.key, member);
  }
  const starts = await dataStarts(source, used);
  const located = new Map<string, StoredTensor>();
  for (const [name, { storage, offset, shape }] of tensors) {
    const { dtype, key } = storage;
    const begin = starts.get(key)! + tensorBytes([offset], dtype)!;
    located.set(name, { dtype, shape, bytes: source.at(begin, tensorBytes(shape, dtype)!) });
  }
  return located;
}

/** Where each storage's data begin. Members that overlap are refused: no sound archive has them. */
async function dataStarts(
  source: ByteSource,
  used: ReadonlyMap<string, ZipMember>,
): Promise<Map<string, number>> {
  const starts = new Map<string, number>();
  const queue = [...used];
  for (let i = 0; i < queue.length; i += PARALLEL_READS) {
    const batch = queue.slice(i, i + PARALLEL_READS);
    const offsets = await Promise.all(batch.map(([, member]) => memberData(source, member)));
    batch.forEach(([key], n) => {
      starts.set(key, offsets[n]!);
    });
  }
  let end = 0;
  for (const [key, member] of queue.sort(([, a], [, b]) => a.headerOffset - b.headerOffset)) {
    if (member.headerOffset < end) throw malformed(source.name, `storage ${quote(key)} overlaps another`);
    end = starts.get(key)! + member.size;
  }
  return starts;
}
