import type { TensorData } from "../core/tensor.ts";
import type {
  InputTensor,
  OutputTarget,
  RunOptions,
  Runtime,
  RuntimeModel,
  Session,
} from "../runtime/session.ts";

/** What the vision graph was fed in a run, and what it made on the way to its rows. */
export interface ObservedPictures {
  /** u8 [n, height, width, 3]. */
  pixels: TensorData;
  /** f32 [n, patches, width]. */
  vit: TensorData;
  /** f32 [n, regions, width]. */
  compressed: TensorData;
}

/**
 * A runtime through which one sees the stages of every picture that is encoded, while the engine above it does
 * what it always does: what is verified is the path that answers requests, not a second one.
 */
export class ObservingRuntime implements Runtime {
  /** Told after each run that makes visual rows. */
  observe: (pictures: ObservedPictures) => void = () => {};
  readonly #runtime: Runtime;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  get device() {
    return this.#runtime.device;
  }

  async load(model: RuntimeModel): Promise<Session> {
    const session = await this.#runtime.load(model);
    const run = async (
      inputs: Readonly<Record<string, InputTensor>>,
      outputs: Readonly<Record<string, OutputTarget>>,
      options?: RunOptions,
    ) => {
      if (!("rows" in outputs)) return session.run(inputs, outputs, options);
      const all = await session.run(inputs, { vit: "fresh", compressed: "fresh", ...outputs }, options);
      this.observe({ pixels: inputs.pixels, vit: all.vit, compressed: all.compressed } as ObservedPictures);
      return all;
    };
    const { inputNames, outputNames } = session;
    const allocate: Session["allocate"] = (dtype, shape) => session.allocate(dtype, shape);
    return { inputNames, outputNames, run, allocate, close: () => session.close() };
  }

  residentTokens(): Promise<number> {
    return this.#runtime.residentTokens();
  }

  close(): Promise<void> {
    return this.#runtime.close();
  }
}
