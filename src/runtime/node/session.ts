import koffi from "koffi";
import type { DType } from "../../core/dtype.ts";
import { OryxError, throwIfAborted } from "../../core/errors.ts";
import type { TensorData } from "../../core/tensor.ts";
import type { DeviceTensor, InputTensor, OutputTarget, RunOptions, Session } from "../session.ts";
import { DeviceMemory, NodeDeviceTensor, type Place } from "./device-memory.ts";
import { returnFreedMemory } from "./memory.ts";
import type { Handle, Ort } from "./ort.ts";
import { cString, outSlot, TensorBridge } from "./tensors.ts";

/** A loaded model in ONNX Runtime, called through its C API. */
export class NodeSession implements Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly #ort: Ort;
  readonly #session: Handle;
  readonly #bridge: TensorBridge;
  readonly #place: Place;
  readonly #memory: DeviceMemory;
  readonly #inputs: Names;
  readonly #outputs: Names;
  readonly #running = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  /** Takes over `session`. `memoryInfo` describes CPU memory and must outlive this object. */
  constructor(ort: Ort, session: Handle, memoryInfo: Handle, place: Place) {
    this.#ort = ort;
    this.#place = place;
    this.#session = session;
    this.#memory = new DeviceMemory(ort, session, place);
    this.#bridge = new TensorBridge(ort, memoryInfo);
    this.#inputs = new Names("input", readNames(ort, session, "Input"));
    this.#outputs = new Names("output", readNames(ort, session, "Output"));
    this.inputNames = this.#inputs.all;
    this.outputNames = this.#outputs.all;
  }

  async run(
    inputs: Readonly<Record<string, InputTensor>>,
    outputs: Readonly<Record<string, OutputTarget>>,
    { signal }: RunOptions = {},
  ): Promise<Record<string, TensorData>> {
    if (this.#closing) throw closed();
    const call = new RunCall(this.#ort);
    try {
      call.bindInputs(this.#inputs, this.#bridge, inputs);
      call.bindOutputs(this.#outputs, this.#bridge, outputs);
      const running = this.#place.line.take(() => call.run(this.#session, signal), signal);
      this.#running.add(running);
      for (const tensor of call.deviceTensors) tensor.usedBy(running);
      try {
        await running;
      } finally {
        this.#running.delete(running);
      }
      return call.results(this.#bridge);
    } finally {
      call.release();
    }
  }

  async allocate(dtype: DType, shape: readonly number[]): Promise<DeviceTensor> {
    if (this.#closing) throw closed();
    const allocating = this.#memory.allocate(dtype, shape);
    this.#running.add(allocating);
    try {
      return await allocating;
    } finally {
      this.#running.delete(allocating);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#release();
    return this.#closing;
  }

  async #release(): Promise<void> {
    await Promise.allSettled(this.#running);
    await this.#memory.release();
    await this.#place.line.take(() => this.#ort.inBackground("ReleaseSession", this.#session));
    await returnFreedMemory();
  }
}

const closed = () => new OryxError("closed", "the session is closed", "load the model again");

/** The native objects of one run. */
class RunCall {
  /** Those that the run reads or writes; their values are not the run's to release. */
  readonly deviceTensors = new Set<NodeDeviceTensor>();
  readonly #ort: Ort;
  readonly #options: Handle;
  /** What the run reads and writes: referenced here until it ends, so that no garbage collection takes it. */
  readonly #memory: TensorData["data"][] = [];
  readonly #borrowed = new Set<Handle>();
  #targets: [name: string, target: OutputTarget][] = [];
  #inputNames = new BigUint64Array(0);
  #inputValues = new BigUint64Array(0);
  #outputNames = new BigUint64Array(0);
  #outputValues = new BigUint64Array(0);

  constructor(ort: Ort) {
    const slot = outSlot();
    ort.CreateRunOptions(slot);
    this.#ort = ort;
    this.#options = slot[0]!;
  }

  bindInputs(names: Names, bridge: TensorBridge, inputs: Readonly<Record<string, InputTensor>>): void {
    const given = Object.entries(inputs);
    this.#inputNames = new BigUint64Array(given.length);
    this.#inputValues = new BigUint64Array(given.length);
    given.forEach(([name, tensor], i) => {
      this.#inputNames[i] = names.address(name);
      this.#inputValues[i] = this.#bind(bridge, tensor, name);
    });
  }

  bindOutputs(names: Names, bridge: TensorBridge, outputs: Readonly<Record<string, OutputTarget>>): void {
    this.#targets = Object.entries(outputs);
    this.#outputNames = new BigUint64Array(this.#targets.length);
    this.#outputValues = new BigUint64Array(this.#targets.length);
    this.#targets.forEach(([name, target], i) => {
      this.#outputNames[i] = names.address(name);
      if (target !== "fresh") this.#outputValues[i] = this.#bind(bridge, target, name);
    });
  }

  /** Computes on a worker thread. @throws OryxError `runtime_failed`, `aborted`. */
  async run(session: Handle, signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    const terminate = (): void => this.#ort.RunOptionsSetTerminate(this.#options);
    signal?.addEventListener("abort", terminate, { once: true });
    try {
      await this.#ort.inBackground(
        "Run",
        session,
        this.#options,
        this.#inputNames,
        this.#inputValues,
        this.#inputValues.length,
        this.#outputNames,
        this.#outputValues.length,
        this.#outputValues,
      );
    } catch (error) {
      throwIfAborted(signal);
      throw error;
    } finally {
      signal?.removeEventListener("abort", terminate);
    }
    throwIfAborted(signal);
  }

  /** The outputs in memory: the caller's own tensors, and copies of those that ONNX Runtime allocated. */
  results(bridge: TensorBridge): Record<string, TensorData> {
    const results: Record<string, TensorData> = {};
    this.#targets.forEach(([name, target], i) => {
      if (target === "fresh") results[name] = bridge.read(this.#outputValues[i]!, name);
      else if ("data" in target) results[name] = target;
    });
    return results;
  }

  /** Releases every native object of the run, whatever happened to it. */
  release(): void {
    for (const value of [...this.#inputValues, ...this.#outputValues]) {
      if (value !== 0n && !this.#borrowed.has(value)) this.#ort.ReleaseValue(value);
    }
    this.#ort.ReleaseRunOptions(this.#options);
    this.#memory.length = 0;
  }

  #bind(bridge: TensorBridge, tensor: InputTensor, name: string): Handle {
    if ("data" in tensor) {
      this.#memory.push(tensor.data);
      return bridge.overData(tensor, name);
    }
    if (!(tensor instanceof NodeDeviceTensor)) {
      throw new OryxError(
        "runtime_failed",
        `tensor "${name}" is in no memory of this runtime`,
        "allocate it with a session of this runtime",
      );
    }
    const { value } = tensor;
    this.deviceTensors.add(tensor);
    this.#borrowed.add(value);
    return value;
  }
}

/** The names of a session's inputs or outputs, ready to be passed to C. */
class Names {
  readonly all: readonly string[];
  readonly #kind: string;
  readonly #strings: ReadonlyMap<string, { memory: Uint8Array; address: bigint }>;

  constructor(kind: string, all: readonly string[]) {
    this.all = Object.freeze([...all]);
    this.#kind = kind;
    this.#strings = new Map(
      all.map((name) => {
        const memory = cString(name);
        return [name, { memory, address: koffi.address(memory) }];
      }),
    );
  }

  /** Address of a name's C string. @throws OryxError `runtime_failed` when the model has no such name. */
  address(name: string): bigint {
    const string = this.#strings.get(name);
    if (!string) {
      throw new OryxError(
        "runtime_failed",
        `the model has no ${this.#kind} "${name}"`,
        `its ${this.#kind}s are: ${this.all.slice(0, 20).join(", ")}${this.all.length > 20 ? ", ..." : ""}`,
      );
    }
    return string.address;
  }
}

function readNames(ort: Ort, session: Handle, kind: "Input" | "Output"): string[] {
  const slot = outSlot();
  ort.GetAllocatorWithDefaultOptions(slot);
  const allocator = slot[0]!;
  ort[`SessionGet${kind}Count`](session, slot);
  return Array.from({ length: Number(slot[0]) }, (_, i) => {
    ort[`SessionGet${kind}Name`](session, i, allocator, slot);
    const name = koffi.decode.string(slot[0]);
    ort.AllocatorFree(allocator, slot[0]!);
    return name;
  });
}
