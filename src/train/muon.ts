import { scalar } from "../core/tensor.ts";
import { gemm } from "../graph/ops/matmul.ts";
import { add, div, mul, sqrt, sub, sum } from "../graph/ops.ts";
import { type Graph, input, type Tensor } from "../graph/tensor.ts";
import { emitOnnx } from "../onnx/emit.ts";
import type { Runtime, Session } from "../runtime/session.ts";
import type { Arena, Slot } from "./arena.ts";
import { inLanes } from "./lanes.ts";

/** Share of the mean of gradients that remains at each step. */
const MOMENTUM = 0.95;

/** Of the odd polynomial that brings singular values from 0 .. 1 near 1 when it is applied so many times (Jordan 2024). */
const POLYNOMIAL = { a: 3.4445, b: -4.775, c: 2.0315, times: 5 } as const;

/** What a step of orthogonal matrices is multiplied by, so that AdamW's learning rates fit (Liu et al. 2025). */
const RMS = 0.2;

/** Matrices between hidden features. Tables of embeddings and biases have no singular values to even out. */
const HIDDEN = /^model\.(layers|vision_tower\.vision_tower\.blocks)\..*\.weight$/;

/** Whether Muon is for a parameter. */
export const isHidden = ({ name, shape }: Slot): boolean => shape.length === 2 && HIDDEN.test(name);

/** What a step is made with. */
export interface MuonStep {
  parameters: Arena;
  gradients: Arena;
  /** Running means of the gradients; changed. */
  means: Arena;
  clip: number;
  rateOf: (slot: Slot) => number;
  weightDecay: number;
}

/**
 * Muon (Jordan 2024): steps along the nearest matrix whose singular values are all 1, instead of along the gradients'
 * mean: directions that few examples speak of are learnt as fast as those that all do.
 */
export class Muon {
  readonly #slots: readonly Slot[];
  readonly #sessions: ReadonlyMap<string, Session>;
  readonly #lanes: number;

  private constructor(slots: readonly Slot[], sessions: ReadonlyMap<string, Session>, lanes: number) {
    this.#slots = slots;
    this.#sessions = sessions;
    this.#lanes = lanes;
  }

  /** @throws OryxError `out_of_memory`, `runtime_failed` */
  static async load(slots: readonly Slot[], runtime: Runtime, lanes: number): Promise<Muon> {
    const sessions = new Map<string, Session>();
    for (const { shape } of slots) {
      const key = String(shape);
      if (!sessions.has(key)) sessions.set(key, await runtime.load(emitOnnx(muonGraph(shape))));
    }
    // The largest first: what is left for the last lane is short.
    return new Muon(
      [...slots].sort((a, b) => b.size - a.size),
      sessions,
      lanes,
    );
  }

  async update({ parameters, gradients, means, clip, rateOf, weightDecay }: MuonStep): Promise<void> {
    const updateOf = (slot: Slot) => {
      const rate = rateOf(slot);
      const p = parameters.tensor(slot.name);
      const m = means.tensor(slot.name);
      const scalars = {
        clip: scalar(clip),
        rate: scalar(rate * RMS * Math.sqrt(Math.max(...slot.shape))),
        keep: scalar(1 - rate * weightDecay),
      };
      const session = this.#sessions.get(String(slot.shape)) as Session;
      return session.run({ ...scalars, p, m, g: gradients.tensor(slot.name) }, { newP: p, newM: m });
    };
    await inLanes(this.#slots, this.#lanes, updateOf, () => {});
  }

  async close(): Promise<void> {
    for (const session of this.#sessions.values()) await session.close();
  }
}

/** p, m and g of a shape to the p and m that follow; p and m are each read once, and may be written over. */
function muonGraph(shape: readonly number[]): Graph {
  const matrixOf = (name: string) => input(name, "f32", shape);
  const numberOf = (name: string) => input(name, "f32", []);
  const [p, m, g] = [matrixOf("p"), matrixOf("m"), matrixOf("g")];
  const [clip, rate, keep] = [numberOf("clip"), numberOf("rate"), numberOf("keep")];
  const clipped = mul(g, clip);
  const newM = add(mul(m, MOMENTUM), clipped);
  const ahead = add(clipped, mul(newM, MOMENTUM));
  return { outputs: { newP: sub(mul(p, keep), mul(orthogonal(ahead), rate)), newM }, sizes: [] };
}

/** The matrix of x's singular vectors with values near 1, by an iteration of products (Newton and Schulz). */
function orthogonal(x: Tensor): Tensor {
  const [rows, columns] = x.shape as readonly [number, number];
  const tall = rows > columns;
  let y = div(x, add(sqrt(sum(mul(x, x), [0, 1])), 1e-7));
  const { a, b, c, times } = POLYNOMIAL;
  for (let i = 0; i < times; i++) {
    const square = tall ? gemm(y, y, 1, 0) : gemm(y, y, 0, 1);
    const mixed = add(mul(square, b), mul(gemm(square, square, 0, 0), c));
    y = add(mul(y, a), tall ? gemm(y, mixed, 0, 0) : gemm(mixed, y, 0, 0));
  }
  return y;
}
