import koffi from "koffi";
import { OryxError, throwIfAborted } from "../../core/errors.ts";
import type { TensorData } from "../../core/tensor.ts";
import type { OutputTarget, RunOptions, Session } from "../session.ts";
import { returnFreedMemory } from "./memory.ts";
import type { Handle, Ort } from "./ort.ts";
import { cString, outSlot, TensorBridge } from "./tensors.ts";
import type { Turn } from "./turns.ts";

/** A loaded model in ONNX Runtime, called through its C API. */
export class NodeSession implements Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly #ort: Ort;
  readonly #session: Handle;
  readonly #bridge: TensorBridge;
  readonly #turn: Turn;
  readonly #inputs: Names;
  readonly #outputs: Names;
  readonly #running = new Set<Promise<void>>();
  #closing: Promise<void> | undefined;

  /**
   * Takes over `session`. `memoryInfo` describes CPU memory and must outlive this object; `turn` says when the
   * device may be used.
   */
  constructor(ort: Ort, session: Handle, memoryInfo: Handle, turn: Turn) {
    this.#ort = ort;
    this.#turn = turn;
    this.#session = session;
    this.#bridge = new TensorBridge(ort, memoryInfo);
    this.#inputs = new Names("input", readNames(ort, session, "Input"));
    this.#outputs = new Names("output", readNames(ort, session, "Output"));
    this.inputNames = this.#inputs.all;
    this.outputNames = this.#outputs.all;
  }

  async run(
    inputs: Readonly<Record<string, TensorData>>,
    outputs: Readonly<Record<string, OutputTarget>>,
    options?: RunOptions,
  ): Promise<Record<string, TensorData>> {
    if (this.#closing) throw new OryxError("closed", "the session is closed", "load the model again");
    const call = new RunCall(this.#ort);
    try {
      call.bindInputs(this.#inputs, this.#bridge, inputs);
      call.bindOutputs(this.#outputs, this.#bridge, outputs);
      const running = this.#turn(() => call.run(this.#session, options?.signal));
      this.#running.add(running);
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

  close(): Promise<void> {
    this.#closing ??= this.#release();
    return this.#closing;
  }

  async #release(): Promise<void> {
    await Promise.allSettled(this.#running);
    await this.#turn(() => this.#ort.inBackground("ReleaseSession", this.#session));
    await returnFreedMemory();
  }
}

/** The native objects of one run. */
class RunCall {
  readonly #ort: Ort;
  readonly #options: Handle;
  /** What the run reads and writes: referenced here until it ends, so that no garbage collection takes it. */
  readonly #memory: TensorData["data"][] = [];
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

  bindInputs(names: Names, bridge: TensorBridge, inputs: Readonly<Record<string, TensorData>>): void {
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

  /** The outputs: the caller's own tensors, and copies of those that ONNX Runtime allocated. */
  results(bridge: TensorBridge): Record<string, TensorData> {
    const results: Record<string, TensorData> = {};
    this.#targets.forEach(([name, target], i) => {
      results[name] = target === "fresh" ? bridge.read(this.#outputValues[i]!, name) : target;
    });
    return results;
  }

  /** Releases every native object of the run, whatever happened to it. */
  release(): void {
    for (const value of this.#inputValues) if (value !== 0n) this.#ort.ReleaseValue(value);
    for (const value of this.#outputValues) if (value !== 0n) this.#ort.ReleaseValue(value);
    this.#ort.ReleaseRunOptions(this.#options);
    this.#memory.length = 0;
  }

  #bind(bridge: TensorBridge, tensor: TensorData, name: string): Handle {
    this.#memory.push(tensor.data);
    return bridge.overData(tensor, name);
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
