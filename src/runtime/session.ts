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

/** What to do with an output: write it into the caller's memory (the shape must be right), or make fresh memory. */
export type OutputTarget = TensorData | "fresh";

export interface RunOptions {
  /** Ends the run inside the step that is computing when it fires; the run then rejects with code `aborted`. */
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
   * Computes the outputs that `outputs` names, and only those.
   * @throws OryxError `runtime_failed` (unknown name, wrong shape or type, kernel error), `aborted`, `closed`.
   */
  run(
    inputs: Readonly<Record<string, TensorData>>,
    outputs: Readonly<Record<string, OutputTarget>>,
    options?: RunOptions,
  ): Promise<Record<string, TensorData>>;
  /** Releases the session once runs in flight have ended; a second call does nothing. */
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
  /** Closes the runtime and every session it loaded; a second call does nothing. */
  close(): Promise<void>;
}
