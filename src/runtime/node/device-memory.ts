import { DTYPE_BYTES, type DType, ONNX_DTYPE } from "../../core/dtype.ts";
import { OryxError } from "../../core/errors.ts";
import { elementCount } from "../../core/tensor.ts";
import type { Line } from "../../core/turns.ts";
import type { Device, DeviceTensor } from "../session.ts";
import type { Handle, Ort } from "./ort.ts";
import { outSlot } from "./tensors.ts";

/** ONNX Runtime's name for the memory that a device's kernels work in. */
const MEMORY: Readonly<Record<Device, string>> = { cpu: "Cpu", webgpu: "WebGPU_Buffer" };

/** Whose memory it is: which device, and the line of those that use it. */
export interface Place {
  device: Device;
  line: Line;
}

/** What one session has allocated on its device. Its values die before its allocator, and that before the session. */
export class DeviceMemory {
  readonly #ort: Ort;
  readonly #session: Handle;
  readonly #place: Place;
  readonly #tensors = new Set<NodeDeviceTensor>();
  #allocator: Handle | undefined;

  constructor(ort: Ort, session: Handle, place: Place) {
    this.#ort = ort;
    this.#session = session;
    this.#place = place;
  }

  /** @throws OryxError `out_of_memory` */
  allocate(dtype: DType, shape: readonly number[]): Promise<NodeDeviceTensor> {
    return this.#place.line.take(async () => {
      const slot = outSlot();
      const dims = BigInt64Array.from(shape, BigInt);
      try {
        this.#allocator ??= this.#makeAllocator();
        const args = [this.#allocator, dims, dims.length, ONNX_DTYPE[dtype], slot];
        await this.#ort.inBackground("CreateTensorAsOrtValue", ...args);
      } catch (cause) {
        const bytes = elementCount(shape) * DTYPE_BYTES[dtype];
        const problem = `${(bytes / 1e6).toFixed(0)} MB cannot be had on the device ${this.#place.device}`;
        throw new OryxError("out_of_memory", problem, "hold fewer or shorter conversations", { cause });
      }
      const tensor: NodeDeviceTensor = new NodeDeviceTensor(dtype, shape, slot[0]!, (value) =>
        this.#free(tensor, value),
      );
      this.#tensors.add(tensor);
      return tensor;
    });
  }

  /** Frees everything. */
  async release(): Promise<void> {
    await Promise.all([...this.#tensors].map((tensor) => tensor.close()));
    if (this.#allocator !== undefined) this.#ort.ReleaseAllocator(this.#allocator);
    this.#allocator = undefined;
  }

  #makeAllocator(): Handle {
    const slot = outSlot();
    const [deviceAllocator, id, defaultMemory] = [0, 0, 0];
    this.#ort.CreateMemoryInfo(MEMORY[this.#place.device], deviceAllocator, id, defaultMemory, slot);
    const info = slot[0]!;
    try {
      this.#ort.CreateAllocator(this.#session, info, slot);
      return slot[0]!;
    } finally {
      this.#ort.ReleaseMemoryInfo(info);
    }
  }

  /** The tensor counts as there until its value is gone: the allocator may not be released before. */
  async #free(tensor: NodeDeviceTensor, value: Handle): Promise<void> {
    try {
      await this.#place.line.take(() => this.#ort.inBackground("ReleaseValue", value));
    } finally {
      this.#tensors.delete(tensor);
    }
  }
}

/** An OrtValue in a device's memory. */
export class NodeDeviceTensor implements DeviceTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly #value: Handle;
  readonly #free: (value: Handle) => Promise<void>;
  readonly #uses = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor(dtype: DType, shape: readonly number[], value: Handle, free: (value: Handle) => Promise<void>) {
    this.dtype = dtype;
    this.shape = shape;
    this.#value = value;
    this.#free = free;
  }

  /** @throws OryxError `closed` */
  get value(): Handle {
    if (this.#closing) throw new OryxError("closed", "the device tensor is closed", "allocate another one");
    return this.#value;
  }

  /** Keeps the memory until a run that reads or writes it has ended. */
  usedBy(run: Promise<unknown>): void {
    this.#uses.add(run);
    const done = () => this.#uses.delete(run);
    run.then(done, done);
  }

  close(): Promise<void> {
    this.#closing ??= Promise.allSettled(this.#uses).then(() => this.#free(this.#value));
    return this.#closing;
  }
}
