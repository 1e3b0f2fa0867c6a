import type { DType } from "../core/dtype.ts";
import type { StoredTensor, TensorData } from "../core/tensor.ts";

/** Where a session computes. */
export type Device = "cpu" | "webgpu";

export interface RuntimeOptions {
  device?: Device | undefined;
  /** Threads inside an operation; default: the machine's physical cores. */
  threads?: number | undefined;
}

/** A model to load: ONNX bytes whose initializers' data may lie elsewhere, named in `weights`. */
export interface RuntimeModel {
  /** A serialised ONNX ModelProto. Weights are declared in it as external data, whose location is not read. */
  onnx: Uint8Array;
  /**
   * Bytes of every externally stored initializer, by its name. Ranges of files are mapped, not copied (the
   * file must stay as it is until the session is closed); bytes in memory are copied once, and may be reused.
   */
  weights: ReadonlyMap<string, StoredTensor>;
}

/** A tensor in the memory of a session's device, where runs read and write it without its ever leaving. */
export interface DeviceTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Frees the memory once the runs that use it have ended; a second call does nothing. */
  close(): Promise<void>;
}

/** What a run reads: the caller's memory, or the device's. */
export type InputTensor = TensorData | DeviceTensor;

/**
 * What to do with an output: write it into the caller's memory or the device's (the shape must be right), or make
 * fresh memory.
 */
export type OutputTarget = TensorData | DeviceTensor | "fresh";

export interface RunOptions {
  /** Ends the run inside the step that is computing when it fires, or its waiting; it then rejects with code `aborted`. */
  signal?: AbortSignal | undefined;
}

/**
 * One loaded model. Inputs are read from, and outputs written into, the caller's memory without a copy on the
 * CPU; that memory must not be touched while a run is in flight. Runs of one session may overlap.
 */
export interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /**
   * Computes the outputs that `outputs` names, and only those. A device tensor may be an input and an output of one
   * run, for operations that work in place.
   * @returns the outputs, but for those in the device's memory
   * @throws OryxError `runtime_failed` (unknown name, wrong shape or type, kernel error), `aborted`, `closed`.
   */
  run(
    inputs: Readonly<Record<string, InputTensor>>,
    outputs: Readonly<Record<string, OutputTarget>>,
    options?: RunOptions,
  ): Promise<Record<string, TensorData>>;
  /**
   * Memory on the device, for this session's runs and those of others on the same device. What is in it at first is
   * not said. @throws OryxError `out_of_memory`, `closed`.
   */
  allocate(dtype: DType, shape: readonly number[]): Promise<DeviceTensor>;
  /** Releases the session and what it allocated once runs in flight have ended; a second call does nothing. */
  close(): Promise<void>;
}

/** Loads models on one device. The engine sees only this, so that Node and the browser can differ. */
export interface Runtime {
  readonly device: Device;
  /**
   * @throws OryxError `weights_missing`, `weights_mismatch`, `weights_malformed` (a weight is absent, of another
   * shape or type, or not wholly in its file), `runtime_failed` (the model is invalid), `closed`.
   */
  load(model: RuntimeModel): Promise<Session>;
  /**
   * Up to how many positions a run may add to a cache in the device's memory by GroupQueryAttention in place, with
   * right results: 0 where a cache is as well kept by the caller, as on the CPU, or the device cannot.
   */
  residentTokens(): Promise<number>;
  /** Closes the runtime and every session it loaded; a second call does nothing. */
  close(): Promise<void>;
}
