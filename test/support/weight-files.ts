/** Weight files made byte by byte, sound or not, for tests. Independent of the readers and writers under test. */

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

export function concat(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function littleEndian(value: number | bigint, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 255n));
}

/** A safetensors file from its header's text; `declared` is the length that it claims for it. */
export function safetensorsFile(
  header: string | Uint8Array,
  dataBytes = 0,
  declared?: number | bigint,
): Uint8Array {
  const text = typeof header === "string" ? utf8(header) : header;
  const data = Uint8Array.from({ length: dataBytes }, (_, i) => i);
  return concat(littleEndian(declared ?? text.length, 8), text, data);
}

export interface ZipPart {
  name: string | Uint8Array;
  data: Uint8Array;
  /** What the directory says instead of the truth. */
  directory?: { method?: number; flags?: number; size?: number; compressed?: number; offset?: number };
  /** What the member's own header says instead of the truth. */
  local?: { signature?: number; method?: number; name?: string };
}

/** What the records at the end say instead of the truth. */
export interface ZipEnd {
  count?: number;
  size?: number;
  offset?: number;
  disk?: number;
  comment?: Uint8Array;
  commentBytes?: number;
  /** "always": zip64 records beside short ones that say the same, as PyTorch writes them. */
  zip64?: "needed" | "always";
  zip64At?: number;
  zip64Count?: number | bigint;
}

const NO_DATE = [0, 0, 0, 0];

/** A zip of stored members, padded to 64 bytes before each member's data as PyTorch does. */
export function zipFile(parts: readonly ZipPart[], end: ZipEnd = {}): Uint8Array {
  let body: Uint8Array = new Uint8Array(0);
  let directory: Uint8Array = new Uint8Array(0);
  for (const { name, data, directory: lie = {}, local = {} } of parts) {
    const nameBytes = typeof name === "string" ? utf8(name) : name;
    const offset = body.length;
    const localName = local.name === undefined ? nameBytes : utf8(local.name);
    const padding = (64 - ((offset + 30 + localName.length + 4) % 64)) % 64;
    body = concat(
      body,
      littleEndian(local.signature ?? 0x04034b50, 4),
      [0, 0, 8, 8],
      littleEndian(local.method ?? 0, 2),
      NO_DATE,
      new Uint8Array(12), // checksum and sizes are left to the directory
      littleEndian(localName.length, 2),
      littleEndian(4 + padding, 2),
      localName,
      utf8("FB"),
      littleEndian(padding, 2),
      new Uint8Array(padding),
      data,
    );
    const fields = [lie.size ?? data.length, lie.compressed ?? lie.size ?? data.length, lie.offset ?? offset];
    const wide =
      end.zip64 === "needed" ? concat([1, 0, 24, 0], ...fields.map((field) => littleEndian(field, 8))) : [];
    const [size, compressed, at] = end.zip64 === "needed" ? [0xffffffff, 0xffffffff, 0xffffffff] : fields;
    directory = concat(
      directory,
      littleEndian(0x02014b50, 4),
      [0, 0, 0, 0],
      littleEndian(lie.flags ?? 0x0808, 2),
      littleEndian(lie.method ?? 0, 2),
      NO_DATE,
      [0, 0, 0, 0],
      littleEndian(compressed!, 4),
      littleEndian(size!, 4),
      littleEndian(nameBytes.length, 2),
      littleEndian(wide.length, 2),
      new Uint8Array(10),
      littleEndian(at!, 4),
      nameBytes,
      wide,
    );
  }
  return concat(body, directory, zipEnd(parts.length, directory.length, body.length, end));
}

function zipEnd(members: number, directoryBytes: number, directoryAt: number, end: ZipEnd): Uint8Array {
  const count = end.count ?? members;
  const size = end.size ?? directoryBytes;
  const offset = end.offset ?? directoryAt;
  const comment = end.comment ?? new Uint8Array(0);
  const wide = end.zip64
    ? concat(
        littleEndian(0x06064b50, 4),
        littleEndian(44, 8),
        new Uint8Array(12),
        littleEndian(end.zip64Count ?? count, 8),
        littleEndian(end.zip64Count ?? count, 8),
        littleEndian(size, 8),
        littleEndian(offset, 8),
        littleEndian(0x07064b50, 4),
        [0, 0, 0, 0],
        littleEndian(end.zip64At ?? directoryAt + directoryBytes, 8),
        [1, 0, 0, 0],
      )
    : [];
  const short = (value: number) => littleEndian(end.zip64 === "needed" ? 0xffff : value, 2);
  return concat(
    wide,
    littleEndian(0x06054b50, 4),
    littleEndian(end.disk ?? 0, 2),
    [0, 0],
    short(count),
    short(count),
    littleEndian(end.zip64 === "needed" ? 0xffffffff : size, 4),
    littleEndian(end.zip64 === "needed" ? 0xffffffff : offset, 4),
    littleEndian(end.commentBytes ?? comment.length, 2),
    comment,
  );
}

type Code = Uint8Array | readonly number[];

/** Instructions of a pickle; each value's code leaves one value on the stack. */
export const op = {
  text: (text: string): Uint8Array => concat([0x58], littleEndian(utf8(text).length, 4), utf8(text)),
  int: (value: number): Uint8Array => concat([0x8a, 8], littleEndian(BigInt.asUintN(64, BigInt(value)), 8)),
  none: [0x4e],
  no: [0x89],
  tuple: (...items: Code[]): Uint8Array => concat([0x28], ...items, [0x74]),
  dict: (...pairs: Code[]): Uint8Array => concat([0x7d, 0x28], ...pairs, [0x75]),
  global: (module: string, name: string): Uint8Array => concat([0x63], utf8(`${module}\n${name}\n`)),
  call: (callee: Code, args: Code): Uint8Array => concat(callee, args, [0x52]),
  orderedDict: () => op.call(op.global("collections", "OrderedDict"), [0x29]),
  pickle: (...code: Code[]): Uint8Array => concat([0x80, 2], ...code, [0x2e]),
};

export interface PickledTensor {
  storage?: string;
  key?: string;
  elements?: number;
  offset?: number;
  shape?: readonly number[];
  strides?: readonly number[];
}

/** The code of `_rebuild_tensor_v2`; by default of an f32 [2, 3] over storage "0" of 6 elements. */
export function pickledTensor(tensor: PickledTensor = {}): Uint8Array {
  const { storage = "FloatStorage", key = "0", elements = 6, offset = 0 } = tensor;
  const { shape = [2, 3], strides = [3, 1] } = tensor;
  const id = op.tuple(
    op.text("storage"),
    op.global("torch", storage),
    op.text(key),
    op.text("cpu"),
    op.int(elements),
  );
  return op.call(
    op.global("torch._utils", "_rebuild_tensor_v2"),
    op.tuple(
      concat(id, [0x51]),
      op.int(offset),
      op.tuple(...shape.map(op.int)),
      op.tuple(...strides.map(op.int)),
      op.no,
      op.orderedDict(),
    ),
  );
}

/** The f32 storage that {@link pickledTensor} refers to: 1, 2, ... 6. */
export const STORAGE: Uint8Array = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);

/** A whole `.pth` of a pickle, the storage "0", and any other members. */
export function torchFile(
  pickle: Uint8Array,
  storage = STORAGE,
  others: ZipPart[] = [],
  end?: ZipEnd,
): Uint8Array {
  const own = [
    { name: "archive/data.pkl", data: pickle },
    { name: "archive/data/0", data: storage },
  ];
  return zipFile([...own, ...others], end);
}
