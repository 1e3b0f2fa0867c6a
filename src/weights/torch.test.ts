import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { memorySource } from "../../test/support/memory-source.ts";
import {
  concat,
  littleEndian,
  op,
  pickledTensor,
  STORAGE,
  torchFile,
  utf8,
  zipFile,
} from "../../test/support/weight-files.ts";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { loadTensor } from "./files.ts";
import { readTorchFrom } from "./torch.ts";

const read = (bytes: Uint8Array) => readTorchFrom(memorySource("a.pth", bytes));
const stateDict = (tensor = pickledTensor()) => op.pickle(op.dict(op.text("w"), tensor));
const sound = torchFile(stateDict());

const pickled = (...code: Parameters<typeof op.pickle>) => torchFile(op.pickle(...code));
const withTensor = (tensor: Parameters<typeof pickledTensor>[0], storage?: Uint8Array) =>
  torchFile(stateDict(pickledTensor(tensor)), storage);
const calling = (module: string, name: string, args: Uint8Array) =>
  pickled(op.call(op.global(module, name), args));
/** The sound members, with what one of them says about itself changed. */
const zipWith = (change: object) =>
  zipFile([
    { name: "archive/data.pkl", data: stateDict() },
    { name: "archive/data/0", data: STORAGE, ...change },
  ]);
const renamed = (name: string | Uint8Array) => torchFile(stateDict(), STORAGE, [{ name, data: STORAGE }]);

const MALFORMED_ZIPS: readonly [string, Uint8Array, string?][] = [
  ["an empty file", new Uint8Array(0)],
  ["text", utf8("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")],
  ["a bare pickle, as PyTorch wrote before 1.6", stateDict(), "weights_unsupported"],
  ["only the beginning of a zip", sound.subarray(0, 100)],
  ["a zip without its last byte", sound.subarray(0, sound.length - 1)],
  ["a zip with a byte too many", concat(sound, [0])],
  ["a zip without members", zipFile([])],
  ["a zip with something before it", concat(sound.subarray(0, 64), sound)],
  ["a comment shorter than it claims", torchFile(stateDict(), STORAGE, [], { commentBytes: 9 })],
  ["a directory that counts too many members", torchFile(stateDict(), STORAGE, [], { count: 3 })],
  ["a directory that counts too few members", torchFile(stateDict(), STORAGE, [], { count: 1 })],
  ["a directory larger than it is", torchFile(stateDict(), STORAGE, [], { size: 1000 })],
  ["a directory elsewhere", torchFile(stateDict(), STORAGE, [], { offset: 0 })],
  ["a zip of several disks", torchFile(stateDict(), STORAGE, [], { disk: 1 }), "weights_unsupported"],
  [
    "a zip64 record beyond the file",
    torchFile(stateDict(), STORAGE, [], { zip64: "needed", zip64At: 2 ** 40 }),
  ],
  ["a zip64 record that is none", torchFile(stateDict(), STORAGE, [], { zip64: "needed", zip64At: 0 })],
  ["a zip64 count of 2^63", torchFile(stateDict(), STORAGE, [], { zip64: "needed", zip64Count: 2n ** 63n })],
  ["zip64 records that contradict", torchFile(stateDict(), STORAGE, [], { zip64: "always", zip64Count: 1 })],
  [
    "fields left to zip64 records that are not there",
    torchFile(stateDict(), STORAGE, [], { offset: 0xffffffff }),
  ],
  ["more members than the limit", torchFile(stateDict(), STORAGE, [], { count: LIMITS.zipMembers + 1 })],
  ["a compressed member", zipWith({ directory: { method: 8 } }), "weights_unsupported"],
  ["an encrypted member", zipWith({ directory: { flags: 1 } }), "weights_unsupported"],
  ["a member stored shorter than it is", zipWith({ directory: { compressed: 8 } })],
  ["a member larger than the file", zipWith({ directory: { size: 2 ** 31 } })],
  ["a member beyond the file", zipWith({ directory: { offset: 2 ** 31 } })],
  ["a member whose zip64 size is not there", zipWith({ directory: { size: 0xffffffff } })],
  ["a member that lies in another", zipWith({ directory: { offset: 0 } })],
  ["a member whose header is none", zipWith({ local: { signature: 0 } })],
  ["a member compressed by its own header", zipWith({ local: { method: 8 } })],
  ["a member of two names", zipWith({ local: { name: "archive/data/1" } })],
  ["two members of one name", renamed("archive/data/0")],
  ["a member named ../x", renamed("../x")],
  ["a member named /x", renamed("/x")],
  ["a member named with a backslash", renamed("a\\x")],
  ["a member without a name", renamed("")],
  ["a member whose name is not UTF-8", renamed(Uint8Array.of(0xff))],
  ["two pickles", renamed("other/data.pkl")],
  ["no pickle", zipFile([{ name: "archive/data/0", data: STORAGE }])],
  [
    "big-endian storages",
    torchFile(stateDict(), STORAGE, [{ name: "archive/byteorder", data: utf8("big") }]),
    "weights_unsupported",
  ],
];

const MALFORMED_PICKLES: readonly [string, Uint8Array][] = [
  ["an empty pickle", torchFile(new Uint8Array(0))],
  ["protocol 0", torchFile(utf8("(dp0\n."))],
  ["protocol 6", torchFile(Uint8Array.of(0x80, 6, 0x7d, 0x2e))],
  ["a pickle without a stop", torchFile(Uint8Array.of(0x80, 2, 0x7d))],
  ["bytes after the stop", torchFile(concat(stateDict(), [0]))],
  ["two values at the stop", pickled(op.none, op.none)],
  ["a stop on an empty stack", pickled()],
  ["a pop from an empty stack", pickled([0x30])],
  ["a pop below a mark", pickled(op.none, [0x28, 0x30])],
  ["a tuple without a mark", pickled([0x74])],
  ["a memo that was never set", pickled([0x68, 9])],
  ["a string longer than the pickle", pickled([0x58], littleEndian(0xffffffff, 4))],
  ["a string of 2^63 bytes", pickled([0x8d], littleEndian(2n ** 63n, 8))],
  ["a string that is not UTF-8", pickled([0x58, 1, 0, 0, 0, 0xff])],
  ["bytes of negative length, on which other readers loop", pickled([0x42], littleEndian(0xfffffffb, 4))],
  ["an integer of 255 bytes", pickled([0x8a, 255], new Uint8Array(255))],
  ["an integer beyond 2^53", pickled([0x8a, 8], littleEndian(2n ** 60n, 8))],
  ["a name without an end of line", torchFile(concat([0x80, 2, 0x63], utf8("torch")))],
  ["an item set on a tuple", pickled([0x29], op.none, op.none, [0x73])],
  ["an item appended to a dict", pickled([0x7d], op.none, [0x61])],
  ["a key without a value", pickled([0x7d, 0x28], op.none, [0x75])],
  ["a key that is a tuple", pickled(op.dict([0x29], op.none))],
  ["a key given twice", pickled(op.dict(op.text("a"), op.none, op.text("a"), op.none))],
  ["a call of os.system", calling("os", "system", op.tuple(op.text("true")))],
  ["a call of builtins.eval", calling("builtins", "eval", op.tuple(op.text("1")))],
  ["a call of a name with a dot moved", calling("torch._utils._rebuild", "tensor_v2", op.tuple())],
  ["a name taken from the stack", pickled(op.text("posix"), op.text("system"), [0x93])],
  ["a global named like a property", pickled(op.global("__proto__", "constructor"))],
  ["a call of a storage class", calling("torch", "FloatStorage", op.tuple())],
  ["a call of a string", pickled(op.call(op.text("x"), op.tuple()))],
  ["a call with a list", pickled(op.call(op.global("collections", "OrderedDict"), [0x5d]))],
  ["an object made by NEWOBJ", pickled(op.global("collections", "OrderedDict"), [0x29, 0x81])],
  ["attributes of a function", pickled(op.global("collections", "OrderedDict"), [0x7d, 0x62])],
  ["attributes that are no dict", pickled([0x7d], op.none, [0x62])],
  ["a persistent id that is a string", pickled(op.text("0"), [0x51])],
  ["a state dict that is a list", pickled([0x5d])],
  ["a dict without tensors", pickled(op.dict(op.text("epoch"), op.int(3)))],
  ["a model that holds itself", pickled([0x7d, 0x71, 0], op.text("model"), [0x68, 0, 0x73])],
  ["a tensor named by a number", pickled(op.dict(op.int(1), pickledTensor()))],
  ["a storage that is not in the file", withTensor({ key: "1" })],
  ["a storage whose key climbs", withTensor({ key: "../data.pkl" })],
  ["a storage shorter than its elements", withTensor({ elements: 7, shape: [7], strides: [1] })],
  ["a storage longer than its elements", withTensor({}, new Uint8Array(28))],
  ["a storage of another type than its bytes", withTensor({ storage: "DoubleStorage" })],
  ["a storage of a type not known here", withTensor({ storage: "ComplexFloatStorage" })],
  ["a storage of negative length", withTensor({ elements: -6 })],
  ["a tensor larger than its storage", withTensor({ shape: [2, 4], strides: [4, 1] })],
  ["a tensor that starts too late", withTensor({ offset: 1 })],
  ["an empty tensor beyond its storage", withTensor({ offset: 7, shape: [0], strides: [1] })],
  ["a tensor of negative offset", withTensor({ offset: -1 })],
  ["a tensor of negative size", withTensor({ shape: [-2, -3] })],
  ["a tensor of 2^52 times 2^52 elements", withTensor({ shape: [2 ** 52, 2 ** 52], strides: [0, 0] })],
  ["a tensor with strides for other dimensions", withTensor({ strides: [1] })],
  ["a tensor of nine dimensions", withTensor({ shape: Array(9).fill(1), strides: Array(9).fill(1) })],
  ["a transposed tensor", withTensor({ shape: [3, 2], strides: [1, 3] })],
  ["an expanded tensor", withTensor({ shape: [4, 3], strides: [0, 1] })],
  ["every second element", withTensor({ shape: [3], strides: [2] })],
];

async function errorOf(bytes: Uint8Array): Promise<OryxError> {
  const error = await read(bytes).then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(OryxError);
  expect(error.message).toContain("a.pth");
  return error;
}

describe("readTorchFrom refuses", () => {
  it.each(MALFORMED_ZIPS)("%s", async (_, bytes, code = "weights_malformed") => {
    expect((await errorOf(bytes)).code).toBe(code);
  });

  it.each(MALFORMED_PICKLES)("%s", async (_, bytes) => {
    expect((await errorOf(bytes)).code).toBe("weights_malformed");
  });

  it("a tensor that is not contiguous, by its name and layout", async () => {
    const { message } = await errorOf(withTensor({ shape: [3, 2], strides: [1, 3] }));
    expect(message).toMatch(/"w" is not contiguous: \[3,2\] has strides \[1,3\]/);
  });

  it("more instructions than the limit, before they fill the memory", async () => {
    const endless = new Uint8Array(LIMITS.pickleOps + 10).fill(0x7d);
    expect((await errorOf(pickled(endless))).message).toContain("instructions");
  });

  it("and never touches a prototype", async () => {
    await errorOf(pickled(op.dict(op.text("__proto__"), op.dict(op.text("polluted"), op.int(1)))));
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});

describe("readTorchFrom accepts", () => {
  const values = [1, 2, 3, 4, 5, 6];
  const valuesOf = async (bytes: Uint8Array, name = "w") => {
    const stored = (await read(bytes)).get(name);
    return stored && [...((await loadTensor(stored)).data as Float32Array)];
  };

  it("a plain state dict", async () => {
    expect(await valuesOf(sound)).toEqual(values);
    expect((await read(sound)).get("w")).toMatchObject({ dtype: "f32", shape: [2, 3] });
  });

  it.each(["needed", "always"] as const)("zip64 records that are there when %s", async (zip64) => {
    expect(await valuesOf(torchFile(stateDict(), STORAGE, [], { zip64 }))).toEqual(values);
  });

  it("a comment that contains the signature of the end", async () => {
    const comment = concat(littleEndian(0x06054b50, 4), new Uint8Array(30));
    expect(await valuesOf(torchFile(stateDict(), STORAGE, [], { comment }))).toEqual(values);
  });

  it.each([["model"], ["state_dict"], ["module"]])(
    "a state dict under %s, beside other things",
    async (key) => {
      const file = pickled(
        op.dict(
          op.text("epoch"),
          op.int(3),
          op.text(key),
          op.dict(op.text("w"), pickledTensor(), op.text("n"), op.none),
        ),
      );
      expect(await valuesOf(file)).toEqual(values);
      expect((await read(file)).size).toBe(1);
    },
  );

  it("an ordered dict with attributes, and parameters", async () => {
    const parameter = op.call(
      op.global("torch._utils", "_rebuild_parameter"),
      op.tuple(pickledTensor(), op.no, op.orderedDict()),
    );
    const attributes = op.dict(op.text("_metadata"), op.orderedDict());
    const file = pickled(op.orderedDict(), op.text("w"), parameter, [0x73], attributes, [0x62]);
    expect(await valuesOf(file)).toEqual(values);
  });

  it("protocol 4 with short strings, a memo and a name from the stack", async () => {
    const short = (text: string) => concat([0x8c, text.length], utf8(text));
    const code = concat(short("collections"), [0x94], short("OrderedDict"), [0x94, 0x93, 0x94, 0x29, 0x52]);
    const frame = concat([0x95], littleEndian(1000, 8));
    const pickle = concat([0x80, 4], frame, code, short("w"), pickledTensor(), [0x73, 0x2e]);
    expect(await valuesOf(torchFile(pickle))).toEqual(values);
  });

  it("views into a shared storage, and any stride where a dimension is 1", async () => {
    const file = pickled(
      op.dict(
        op.text("w"),
        pickledTensor({ offset: 2, shape: [3], strides: [1] }),
        op.text("v"),
        pickledTensor({ offset: 5, shape: [1, 1], strides: [77, 0] }),
      ),
    );
    expect(await valuesOf(file)).toEqual([3, 4, 5]);
    expect(await valuesOf(file, "v")).toEqual([6]);
  });

  it("a scalar and an empty tensor", async () => {
    expect(await valuesOf(withTensor({ offset: 1, shape: [], strides: [] }))).toEqual([2]);
    expect(await valuesOf(withTensor({ shape: [0, 3], strides: [3, 1] }))).toEqual([]);
  });
});

describe("readTorchFrom on damaged files", () => {
  async function expectSound(bytes: Uint8Array): Promise<void> {
    try {
      for (const stored of (await read(bytes)).values()) await loadTensor(stored);
    } catch (error) {
      expect(error).toBeInstanceOf(OryxError);
    }
  }

  it("gives tensors inside the file or a coded error for any flipped bits", async () => {
    const place = fc.nat(sound.length - 1);
    const flips = fc.array(fc.tuple(place, fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(flips, async (changes) => {
        const bytes = sound.slice();
        for (const [at, mask] of changes) bytes[at]! ^= mask;
        await expectSound(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  it("gives tensors inside the file or a coded error for any pickle of its instructions", async () => {
    const instruction = fc.constantFrom(
      ...[
        0x28, 0x30, 0x31, 0x32, 0x4e, 0x89, 0x29, 0x85, 0x86, 0x74, 0x5d, 0x61, 0x65, 0x7d, 0x73, 0x75, 0x52,
        0x62, 0x94, 0x51,
      ],
    );
    const piece = fc.oneof(
      instruction.map((code) => Uint8Array.of(code)),
      fc.constantFrom(op.text("w"), op.int(1), pickledTensor(), op.orderedDict(), Uint8Array.of(0x68, 0)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 20 }), (code) => expectSound(pickled(...code))),
      { numRuns: 1000 },
    );
  });

  it("gives a coded error for every truncation", async () => {
    for (let length = 0; length < sound.length; length++) await errorOf(sound.subarray(0, length));
  });
});
