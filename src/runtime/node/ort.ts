import koffi from "koffi";
import { OryxError } from "../../core/errors.ts";
import { Turns } from "../../core/turns.ts";
import { isTooOld, OLDEST_VERSION, OTHER_LIBRARY } from "./library.ts";

/** What may be passed for a C argument: addresses are bigints (null for none) or memory; strings are copied for the call. */
export type Native = bigint | number | string | ArrayBufferView | null;

/** Address of an object that ONNX Runtime owns and that we release: an environment, session, value, ... */
export type Handle = bigint;

/**
 * The functions of `OrtApi` that this project calls: position in the struct, and arguments. The struct is
 * append-only, so a position is valid in every later release.
 * Source: include/onnxruntime/core/session/onnxruntime_c_api.h.
 */
const FALLIBLE = {
  CreateEnv: [3, "int", "str", "void *"],
  DisableTelemetryEvents: [6, "void *"],
  CreateSessionFromArray: [8, "void *", "void *", "size_t", "void *", "void *"],
  Run: [9, "void *", "void *", "void *", "void *", "size_t", "void *", "size_t", "void *"],
  CreateSessionOptions: [10, "void *"],
  DisableMemPattern: [17, "void *"],
  SetSessionLogSeverityLevel: [22, "void *", "int"],
  SetSessionGraphOptimizationLevel: [23, "void *", "int"],
  SetIntraOpNumThreads: [24, "void *", "int"],
  SessionGetInputCount: [30, "void *", "void *"],
  SessionGetOutputCount: [31, "void *", "void *"],
  SessionGetInputName: [36, "void *", "size_t", "void *", "void *"],
  SessionGetOutputName: [37, "void *", "size_t", "void *", "void *"],
  CreateRunOptions: [39, "void *"],
  RunOptionsSetTerminate: [46, "void *"],
  CreateTensorAsOrtValue: [48, "void *", "void *", "size_t", "int", "void *"],
  CreateTensorWithDataAsOrtValue: [49, "void *", "void *", "size_t", "void *", "size_t", "int", "void *"],
  IsTensor: [50, "void *", "void *"],
  GetTensorMutableData: [51, "void *", "void *"],
  GetTensorElementType: [60, "void *", "void *"],
  GetDimensionsCount: [61, "void *", "void *"],
  GetDimensions: [62, "void *", "void *", "size_t"],
  GetTensorTypeAndShape: [65, "void *", "void *"],
  CreateMemoryInfo: [68, "str", "int", "int", "int", "void *"],
  CreateCpuMemoryInfo: [69, "int", "int", "void *"],
  AllocatorFree: [76, "void *", "void *"],
  GetAllocatorWithDefaultOptions: [78, "void *"],
  AddSessionConfigEntry: [130, "void *", "str", "str"],
  CreateAllocator: [131, "void *", "void *", "void *"],
  AddExternalInitializers: [210, "void *", "void *", "void *", "size_t"],
  SessionOptionsAppendExecutionProvider: [216, "void *", "str", "void *", "void *", "size_t"],
} as const;

/** The functions that release what the ones above create; they cannot fail. */
const RELEASING = {
  ReleaseEnv: 92,
  ReleaseStatus: 93,
  ReleaseMemoryInfo: 94,
  ReleaseSession: 95,
  ReleaseValue: 96,
  ReleaseRunOptions: 97,
  ReleaseTensorTypeAndShapeInfo: 99,
  ReleaseSessionOptions: 100,
  ReleaseAllocator: 132,
} as const;

/** The first version of the API that has every function above. */
const API_VERSION = 17;

type Fallible = keyof typeof FALLIBLE;
type Releasing = keyof typeof RELEASING;
type NativeFunction = ((...args: Native[]) => unknown) & {
  async: (...args: (Native | ((error: unknown, result: unknown) => void))[]) => void;
};

/**
 * ONNX Runtime's C API. A fallible function throws OryxError `runtime_failed` where C returns a status; the
 * status is released here.
 */
export type Ort = { readonly [F in Fallible]: (...args: Native[]) => void } & {
  readonly [F in Releasing]: (handle: Handle) => void;
} & {
  /** Calls a function on a worker thread. Memory behind the arguments must be kept alive by the caller. */
  inBackground(name: Fallible | Releasing, ...args: Native[]): Promise<void>;
  /** The library's own version, as in "1.30.0". */
  readonly version: string;
  /** For all that touches the GPU: every session in the process shares one device, which is not made for threads. */
  readonly gpuTurns: Turns;
};

/**
 * Libraries in this process, by path. Each stays loaded until the process ends: koffi would unload one when its
 * handle is garbage collected, under the feet of ONNX Runtime's threads and of functions taken from it.
 */
const LOADED = new Map<string, { ort: Ort; library: ReturnType<typeof koffi.load> }>();

/** The C API of the library at `libraryPath`. @throws OryxError `runtime_missing`. */
export function loadOrt(libraryPath: string): Ort {
  let loaded = LOADED.get(libraryPath);
  if (!loaded) {
    forbidTelemetry();
    giveNativeCallsRoom();
    const { library, api, version } = openLibrary(libraryPath);
    loaded = { ort: bind(api, version), library };
    LOADED.set(libraryPath, loaded);
  }
  return loaded.ort;
}

function bind(api: bigint, version: string): Ort {
  const at = (index: number, result: string, args: readonly string[]): NativeFunction =>
    koffi.decode(koffi.decode(api, index * 8, "void *"), koffi.proto(result, [...args]));

  const errorCode = at(1, "int", ["void *"]);
  const errorMessage = at(2, "str", ["void *"]);
  const releaseStatus = at(RELEASING.ReleaseStatus, "void", ["void *"]);
  const check = (status: unknown): void => {
    if (status === null || status === undefined) return;
    const code = errorCode(status as Handle) as number;
    const message = errorMessage(status as Handle) as string;
    releaseStatus(status as Handle);
    throw failure(code, message);
  };

  const native: Record<string, NativeFunction> = {};
  const bound: Record<string, unknown> = {};
  for (const [name, [index, ...args]] of Object.entries(FALLIBLE)) {
    const call = at(index, "void *", args);
    native[name] = call;
    bound[name] = (...values: Native[]) => check(call(...values));
  }
  for (const [name, index] of Object.entries(RELEASING)) {
    native[name] = at(index, "void", ["void *"]);
    bound[name] = native[name];
  }
  bound.inBackground = (name: Fallible | Releasing, ...args: Native[]) =>
    new Promise<void>((resolve, reject) => {
      const finish = (error: unknown, status: unknown): void => {
        args.length = 0; // until here the arguments are referenced, and their memory stays
        try {
          if (error) throw error;
          check(status);
          resolve();
        } catch (reason) {
          reject(reason);
        }
      };
      native[name]!.async(...args, finish);
    }).catch((reason) => {
      if (reason instanceof OryxError) throw reason;
      const problem = `ONNX Runtime could not be called: ${(reason as Error).message}`;
      throw new OryxError("runtime_failed", problem, "run fewer requests at the same time", {
        cause: reason,
      });
    });
  bound.version = version;
  bound.gpuTurns = new Turns();
  return bound as unknown as Ort;
}

/**
 * From 1.30 on, ONNX Runtime for Linux sends usage events to its maker and keeps an id of the device, unless this
 * variable is set when it starts. Nothing that runs here may send anything. (It also matches the command line
 * against a regular expression for those events, which overflows the stack at about 30,000 characters.)
 */
function forbidTelemetry(): void {
  process.env.ORT_DISABLE_TELEMETRY = "1";
}

/**
 * koffi runs a native function on a stack of its own, 128 KiB for background calls; loading a model recurses
 * deeper than that. The size can be set only before koffi's first call, for the whole process.
 */
function giveNativeCallsRoom(): void {
  const wanted = 8 * 1024 * 1024;
  if ((koffi.config().async_stack_size ?? 0) >= wanted) return;
  try {
    koffi.config({ async_stack_size: wanted, sync_stack_size: wanted });
  } catch (cause) {
    throw new OryxError(
      "runtime_missing",
      "another part of this program called a native library through koffi first, with stacks too small for ONNX Runtime",
      `create the runtime first, or call koffi.config({ async_stack_size: ${wanted} }) before koffi is used`,
      { cause },
    );
  }
}

function openLibrary(libraryPath: string): {
  library: ReturnType<typeof koffi.load>;
  api: bigint;
  version: string;
} {
  try {
    const library = koffi.load(libraryPath);
    const base: bigint = library.func("OrtGetApiBase", "void *", [])();
    const entry = (slot: number, result: string, args: string[]): NativeFunction =>
      koffi.decode(koffi.decode(base, slot * 8, "void *"), koffi.proto(result, args));
    const version = entry(1, "str", [])() as string;
    if (isTooOld(version)) throw new Error(`version ${version} is older than ${OLDEST_VERSION}`);
    const api = entry(0, "void *", ["uint32_t"])(API_VERSION) as bigint | null;
    if (api === null) throw new Error(`version ${version} has no API version ${API_VERSION}`);
    return { library, api, version };
  } catch (cause) {
    throw new OryxError(
      "runtime_missing",
      `ONNX Runtime could not be loaded from ${libraryPath}: ${(cause as Error).message}`,
      `install the package again, or ${OTHER_LIBRARY}`,
      { cause },
    );
  }
}

/** Turns ONNX Runtime's message, which carries source paths and C++ signatures, into one readable line. */
function failure(code: number, message: string): OryxError {
  const readable = message
    .slice(0, 4000)
    .replace(/\s+/g, " ")
    .replace(
      /Non-zero status code returned while running (\S+) node\. Name:'(.*?)' Status Message: /,
      "$1 $2: ",
    )
    .replace(/\S+\.(cc|h|cpp):\d+ (.*?\)(::<lambda\(.*?\)>)?( const)?( \[.*?\])? )?/g, "")
    .replace(/: : \d+ : [A-Z_]+ : /, ": ")
    .trim()
    .replace(/^(.{10,}?) \1$/, "$1"); // said twice
  const brief = readable.length > 400 ? `${readable.slice(0, 400)}...` : readable;
  return new OryxError(
    "runtime_failed",
    `ONNX Runtime: ${brief}`,
    "check the names, shapes and element types of the model's inputs and outputs",
    { cause: new Error(message, { cause: code }) },
  );
}
