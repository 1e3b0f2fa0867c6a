import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { OryxError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { type Line, NO_LINE } from "../../core/turns.ts";
import type { Device, Runtime, RuntimeModel, RuntimeOptions, Session } from "../session.ts";
import { installedLibrary } from "./library.ts";
import { releaseMappedPages, returnFreedMemory } from "./memory.ts";
import { type Handle, loadOrt, type Ort } from "./ort.ts";
import { multipliesExactly, PRODUCT_PROBE } from "./products.ts";
import { NodeSession } from "./session.ts";
import { outSlot, TensorBridge } from "./tensors.ts";
import { ATTENTION_PROBE, adaptToWebGpu, attends, CACHE_PROBE, tokensAttended } from "./webgpu.ts";
import { addInMemoryWeights, parseModel, placeWeights } from "./weights.ts";

export interface NodeRuntimeOptions extends RuntimeOptions {
  /** Path of another ONNX Runtime library than the one that npm installed, of its version or later. */
  libraryPath?: string | undefined;
}

/** ONNX Runtime's log level at which it prints nothing: its errors are returned as well, and thrown here. */
const LOG_FATAL = 4;
const ALL_OPTIMISATIONS = 99;

/**
 * ONNX Runtime in this process, through its C API: models load and compute on worker threads, and tensors are
 * read and written in place.
 *
 * @throws OryxError `runtime_missing`, `device_unavailable`, `bad_option`.
 */
export async function createNodeRuntime(options: NodeRuntimeOptions = {}): Promise<Runtime> {
  const { device = "cpu", threads = physicalCores(), libraryPath = installedLibrary() } = options;
  if (!Number.isInteger(threads) || threads < 1 || threads > LIMITS.threads) {
    throw new OryxError(
      "bad_option",
      `threads is ${threads}`,
      `give a whole number from 1 to ${LIMITS.threads}`,
    );
  }
  const runtime = new NodeRuntime(loadOrt(libraryPath), device, threads);
  await runtime.start();
  return runtime;
}

class NodeRuntime implements Runtime {
  readonly device: Device;
  readonly #ort: Ort;
  readonly #threads: number;
  readonly #env: Handle;
  readonly #memoryInfo: Handle;
  readonly #line: Line;
  readonly #sessions = new Set<Promise<Session>>();
  #flashAttention: Promise<boolean> | undefined;
  #residentTokens: Promise<number> | undefined;
  #exactProducts: Promise<boolean> | undefined;
  #closing: Promise<void> | undefined;

  constructor(ort: Ort, device: Device, threads: number) {
    this.device = device;
    this.#ort = ort;
    this.#threads = threads;
    this.#line = device === "webgpu" ? ort.gpuTurns : NO_LINE;
    const slot = outSlot();
    ort.CreateEnv(LOG_FATAL, "oryx", slot);
    this.#env = slot[0]!;
    const [deviceAllocator, defaultMemory] = [0, 0];
    ort.CreateCpuMemoryInfo(deviceAllocator, defaultMemory, slot);
    this.#memoryInfo = slot[0]!;
  }

  /** Finds out whether the device exists. */
  async start(): Promise<void> {
    try {
      this.#ort.DisableTelemetryEvents(this.#env);
      this.#ort.ReleaseSessionOptions(await this.#sessionOptions([]));
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  load(model: RuntimeModel): Promise<Session> {
    if (this.#closing) {
      return Promise.reject(new OryxError("closed", "the runtime is closed", "create a new one"));
    }
    const loading = this.#load(model);
    this.#sessions.add(loading);
    loading.catch(() => this.#sessions.delete(loading));
    return loading;
  }

  residentTokens(): Promise<number> {
    if (this.device === "cpu") return Promise.resolve(0);
    this.#residentTokens ??= this.#probed(CACHE_PROBE, tokensAttended);
    return this.#residentTokens;
  }

  close(): Promise<void> {
    this.#closing ??= this.#release();
    return this.#closing;
  }

  async #load(model: RuntimeModel): Promise<Session> {
    const widened = !(await this.#hasExactProducts());
    if (this.device === "cpu") return this.#create(model, [], { widened });
    const adapted = await adaptToWebGpu(parseModel(model.onnx), () => this.#hasFlashAttention());
    return this.#create({ onnx: adapted.onnx, weights: model.weights }, adapted.cpuNodes, { widened });
  }

  /** Whether the device computes attention rightly, found out once. */
  #hasFlashAttention(): Promise<boolean> {
    this.#flashAttention ??= this.#probed(ATTENTION_PROBE, attends);
    return this.#flashAttention;
  }

  /** Whether the processor multiplies bytes exactly, found out once. */
  #hasExactProducts(): Promise<boolean> {
    this.#exactProducts ??= this.#probed(PRODUCT_PROBE, multipliesExactly);
    return this.#exactProducts;
  }

  async #probed<T>(onnx: Uint8Array, probe: (session: Session) => Promise<T>): Promise<T> {
    const session = await this.#create({ onnx, weights: new Map() }, []);
    try {
      return await probe(session);
    } finally {
      await session.close();
    }
  }

  /**
   * @param cpuNodes names of the nodes that stay on the CPU, whatever the device
   * @param widened whether i8 matrices are multiplied as u8, see {@link PRODUCT_PROBE}
   */
  async #create(
    model: RuntimeModel,
    cpuNodes: readonly string[],
    { widened = false } = {},
  ): Promise<Session> {
    const ort = this.#ort;
    const { onnx, folder, paths, inMemory } = placeWeights(model);
    const options = await this.#sessionOptions(cpuNodes);
    let weights: { release(): void } | undefined;
    try {
      if (widened) ort.AddSessionConfigEntry(options, "session.x64quantprecision", "1");
      if (folder) {
        ort.AddSessionConfigEntry(options, "session.model_external_initializers_file_folder_path", folder);
      }
      if (inMemory.size > 0) {
        weights = addInMemoryWeights(ort, new TensorBridge(ort, this.#memoryInfo), options, inMemory);
      }
      const slot = outSlot();
      await this.#line.take(() =>
        ort.inBackground("CreateSessionFromArray", this.#env, onnx, onnx.byteLength, options, slot),
      );
      await releaseMappedPages(paths);
      return new NodeSession(ort, slot[0]!, this.#memoryInfo, { device: this.device, line: this.#line });
    } finally {
      weights?.release();
      ort.ReleaseSessionOptions(options);
      await returnFreedMemory();
    }
  }

  async #sessionOptions(cpuNodes: readonly string[]): Promise<Handle> {
    const ort = this.#ort;
    const slot = outSlot();
    ort.CreateSessionOptions(slot);
    const options = slot[0]!;
    try {
      ort.SetIntraOpNumThreads(options, this.#threads);
      ort.SetSessionLogSeverityLevel(options, LOG_FATAL);
      ort.SetSessionGraphOptimizationLevel(options, ALL_OPTIMISATIONS);
      ort.DisableMemPattern(options); // a pattern is kept for every shape ever seen, and a growing cache has many
      if (this.device === "webgpu") await this.#useWebGpu(options, cpuNodes);
      return options;
    } catch (error) {
      ort.ReleaseSessionOptions(options);
      throw error;
    }
  }

  async #useWebGpu(options: Handle, cpuNodes: readonly string[]): Promise<void> {
    const ort = this.#ort;
    const onCpu = "ep.webgpuexecutionprovider.forceCpuNodeNames";
    try {
      ort.AddSessionConfigEntry(options, onCpu, cpuNodes.join("\n"));
      await this.#line.take(() =>
        ort.inBackground("SessionOptionsAppendExecutionProvider", options, "WebGPU", null, null, 0),
      );
    } catch (cause) {
      throw new OryxError(
        "device_unavailable",
        `ONNX Runtime ${this.#ort.version} has no WebGPU here`,
        "use the device cpu, or a machine with a GPU that WebGPU supports and a library built with it",
        { cause },
      );
    }
  }

  async #release(): Promise<void> {
    const loads = await Promise.allSettled(this.#sessions);
    await Promise.all(loads.map((load) => load.status === "fulfilled" && load.value.close()));
    this.#ort.ReleaseMemoryInfo(this.#memoryInfo);
    this.#ort.ReleaseEnv(this.#env);
  }
}

/**
 * Native calls that the process can have under way at once, runs among them: the threads of libuv's pool, which also
 * read files and decode pictures. Their number is fixed before a program's first line runs, by this variable alone.
 */
export function nativeCallsAtOnce(env: NodeJS.ProcessEnv = process.env): number {
  const { UV_THREADPOOL_SIZE: size } = env;
  if (size === undefined) return 4;
  return Math.min(1024, Math.max(1, Math.trunc(Number(size)) || 1));
}

/** Two threads on one core slow a matrix product down. Only Linux tells whether cores are shared. */
export function physicalCores(): number {
  const cores = availableParallelism();
  try {
    const shared = readFileSync("/sys/devices/system/cpu/smt/active", "utf8").trim() === "1";
    return shared ? Math.max(1, Math.floor(cores / 2)) : cores;
  } catch {
    return cores;
  }
}
