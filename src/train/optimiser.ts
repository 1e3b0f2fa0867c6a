import { OryxError } from "../core/errors.ts";
import { scalar, type TensorData } from "../core/tensor.ts";
import { symbol } from "../graph/dim.ts";
import { add, div, mul, sqrt, sub, sum } from "../graph/ops.ts";
import { type Graph, input } from "../graph/tensor.ts";
import { emitOnnx } from "../onnx/emit.ts";
import type { Runtime, Session } from "../runtime/session.ts";
import { Arena, BLOCK, type Layout, type Part, type Stretch } from "./arena.ts";
import { inLanes } from "./lanes.ts";
import { isHidden, Muon } from "./muon.ts";

export interface AdamWOptions {
  /** Decay of the means of gradients and of their squares. */
  betas: readonly [number, number];
  epsilon: number;
  /** Share of a matrix that goes with each step, times the learning rate; biases, norms and marks keep theirs. */
  weightDecay: number;
  /** What the learning rate is multiplied by for each part; where nothing is said, by 1. */
  rates?: Readonly<Partial<Record<Part, number>>> | undefined;
  /** Gradients are scaled down to this norm over all parameters; infinity: never. */
  maxGradNorm: number;
  /** Whether Muon takes the steps of matrices between hidden features. Default false. */
  muon?: boolean | undefined;
}

export const DEFAULT_ADAMW: AdamWOptions = {
  betas: [0.9, 0.999],
  epsilon: 1e-8,
  weightDecay: 0,
  maxGradNorm: 1,
};

/** Elements of one run: enough that starting it costs little, few enough that lanes share the work evenly. */
const CHUNK = 256 * BLOCK;

interface Sessions {
  update: Session;
  squares: Session;
}

/**
 * AdamW (Loshchilov and Hutter 2019) over arenas, in place: one elementwise graph for all parameters, whatever
 * they are; but for those that are left to {@link Muon}, where that is asked for.
 */
export class AdamW {
  readonly options: AdamWOptions;
  /** Running means of the gradients, and of their squares. */
  readonly first: Arena;
  readonly second: Arena;
  /** Steps taken. */
  step = 0;
  readonly #sessions: Sessions;
  readonly #muon: Muon | undefined;
  readonly #lanes: number;

  private constructor(
    layout: Layout,
    options: AdamWOptions,
    sessions: Sessions,
    muon: Muon | undefined,
    lanes: number,
  ) {
    this.options = options;
    this.first = new Arena(layout);
    this.second = new Arena(layout);
    this.#sessions = sessions;
    this.#muon = muon;
    this.#lanes = lanes;
  }

  /** @param lanes runs at a time @throws OryxError `bad_option`, `out_of_memory`, `runtime_failed` */
  static async load(layout: Layout, runtime: Runtime, options: AdamWOptions, lanes = 1): Promise<AdamW> {
    check(options);
    const update = await runtime.load(emitOnnx(updateGraph(options)));
    const squares = await runtime.load(emitOnnx(SQUARES));
    const hidden = [...layout.slots.values()].filter(isHidden);
    const muon = options.muon ? await Muon.load(hidden, runtime, lanes) : undefined;
    return new AdamW(layout, options, { update, squares }, muon, lanes);
  }

  /** The norm of all gradients together. */
  async norm(gradients: Arena): Promise<number> {
    let total = 0;
    const sumOf = async ({ start, end }: Stretch) => {
      const x = vector(gradients.values, start, end, [(end - start) / BLOCK, BLOCK]);
      const { sums } = await this.#sessions.squares.run({ x }, { sums: "fresh" });
      return (sums as TensorData & { dtype: "f32" }).data;
    };
    await inLanes(chunks(0, gradients.values.length), this.#lanes, sumOf, (sums) => {
      for (const s of sums) total += s;
    });
    return Math.sqrt(total);
  }

  /**
   * One step. @param parameters are changed @param gradients are only read, clipped on the way
   * @returns the norm of the gradients before clipping
   * @throws OryxError `training_failed` when that norm is no number; nothing is changed then
   */
  async update(parameters: Arena, gradients: Arena, learningRate: number): Promise<number> {
    const { betas, weightDecay, maxGradNorm, rates = {} } = this.options;
    const norm = await this.norm(gradients);
    if (!Number.isFinite(norm)) {
      const problem = `the gradients' norm is ${norm} after ${this.step} steps`;
      throw new OryxError("training_failed", problem, "lower the learning rate, or go back to a snapshot");
    }
    this.step++;
    // As PyTorch's clip_grad_norm_, which adds a little against division by zero.
    const clip = Math.min(1, maxGradNorm / (norm + 1e-6));
    const [correction1, correction2] = betas.map((beta) => 1 - beta ** this.step) as [number, number];
    const rateOf = ({ part }: { part: Part }) => learningRate * (rates[part] ?? 1);
    const stretches = parameters.layout.stretches((slot) => !(this.#muon && isHidden(slot)));
    const work = stretches.flatMap((stretch) => {
      const rate = rateOf(stretch);
      const scalars = {
        clip: scalar(clip),
        rate: scalar(rate / correction1),
        scale: scalar(1 / Math.sqrt(correction2)),
        keep: scalar(1 - (stretch.decays ? rate * weightDecay : 0)),
      };
      return chunks(stretch.start, stretch.end).map((chunk) => ({ ...chunk, scalars }));
    });
    const updateOf = ({ start, end, scalars }: (typeof work)[number]) => {
      const p = vector(parameters.values, start, end);
      const m = vector(this.first.values, start, end);
      const v = vector(this.second.values, start, end);
      const g = vector(gradients.values, start, end);
      return this.#sessions.update.run({ ...scalars, p, m, v, g }, { newP: p, newM: m, newV: v });
    };
    await inLanes(work, this.#lanes, updateOf, () => {});
    await this.#muon?.update({ parameters, gradients, means: this.first, clip, rateOf, weightDecay });
    return norm;
  }

  async close(): Promise<void> {
    await this.#sessions.update.close();
    await this.#sessions.squares.close();
    await this.#muon?.close();
  }
}

/**
 * p, m, v and g [n] to what follows them. Each of p, m and v is read by one operation alone, on whose result the new
 * value depends: so that the new may be written over the old.
 */
function updateGraph({ betas: [beta1, beta2], epsilon }: AdamWOptions): Graph {
  const vectorOf = (name: string) => input(name, "f32", [symbol("n")]);
  const numberOf = (name: string) => input(name, "f32", []);
  const [p, m, v, g] = [vectorOf("p"), vectorOf("m"), vectorOf("v"), vectorOf("g")];
  const [clip, rate, scale, keep] = [numberOf("clip"), numberOf("rate"), numberOf("scale"), numberOf("keep")];
  const clipped = mul(g, clip);
  const newM = add(mul(m, beta1), mul(clipped, 1 - beta1));
  const newV = add(mul(v, beta2), mul(mul(clipped, clipped), 1 - beta2));
  const step = div(mul(newM, rate), add(mul(sqrt(newV), scale), epsilon));
  return { outputs: { newP: sub(mul(p, keep), step), newM, newV }, sizes: [] };
}

/** x [blocks, BLOCK] -> the sum of each block's squares: short sums, which the caller adds up in double precision. */
const SQUARES: Graph = (() => {
  const x = input("x", "f32", [symbol("blocks"), BLOCK]);
  return { outputs: { sums: sum(mul(x, x), [1]) }, sizes: [] };
})();

const chunks = (start: number, end: number): Stretch[] =>
  Array.from({ length: Math.ceil((end - start) / CHUNK) }, (_, i) => ({
    start: start + i * CHUNK,
    end: Math.min(end, start + (i + 1) * CHUNK),
  }));

const vector = (values: Float32Array, start: number, end: number, shape = [end - start]) =>
  ({ dtype: "f32", shape, data: values.subarray(start, end) }) satisfies TensorData;

function check({ betas, epsilon, weightDecay, maxGradNorm }: AdamWOptions): void {
  const sound =
    betas.every((beta) => beta >= 0 && beta < 1) && epsilon > 0 && weightDecay >= 0 && maxGradNorm > 0;
  if (sound) return;
  const problem = `AdamW with betas ${betas}, epsilon ${epsilon}, decay ${weightDecay}, norm ${maxGradNorm}`;
  throw new OryxError("bad_option", problem, "give betas from 0 to below 1, and the others above 0");
}
