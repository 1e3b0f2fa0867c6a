import { OryxError } from "../core/errors.ts";
import type { TensorData } from "../core/tensor.ts";
import { symbol } from "../graph/dim.ts";
import { add, matmul, mul } from "../graph/ops.ts";
import { input } from "../graph/tensor.ts";
import { emitOnnx } from "../onnx/emit.ts";
import type { Runtime } from "../runtime/session.ts";

/** Learning a correction of low rank for each of the language model's matrices, which stay as they are. */
export interface LoraOptions {
  /** Columns of the correction's factors. */
  rank: number;
  /** The correction counts alpha / rank times. */
  alpha: number;
}

const ADAPTED = /^model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj\.weight$/;

/** Whether a parameter is a matrix that LoRA corrects. */
export const isAdapted = (name: string): boolean => ADAPTED.test(name);

/** Names of the factors for `X.weight`, as other programs call them: `X.lora_A.weight` [rank, in], `X.lora_B.weight` [out, rank]. */
export function factorNames(name: string): { down: string; up: string } {
  const stem = name.replace(/\.weight$/, "");
  return { down: `${stem}.lora_A.weight`, up: `${stem}.lora_B.weight` };
}

export const isFactor = (name: string): boolean => /\.lora_[AB]\.weight$/.test(name);

/** Shapes of the factors of all that is adapted. @throws OryxError `bad_option` */
export function factorShapes(
  shapes: ReadonlyMap<string, readonly number[]>,
  { rank, alpha }: LoraOptions,
): Map<string, readonly number[]> {
  if (!Number.isInteger(rank) || rank < 1 || rank > 4096 || !(alpha > 0 && alpha <= 65536)) {
    const problem = `LoRA of rank ${rank} and alpha ${alpha}`;
    throw new OryxError("bad_option", problem, "give a rank from 1 to 4096 and an alpha above 0");
  }
  const factors = new Map<string, readonly number[]>();
  for (const [name, shape] of shapes) {
    if (!isAdapted(name)) continue;
    const [out, width] = shape as [number, number];
    const { down, up } = factorNames(name);
    factors.set(down, [rank, width]);
    factors.set(up, [out, rank]);
  }
  return factors;
}

/** Adds corrections to their matrices: base + scale * up x down, in the runtime. */
export class LoraMerger {
  readonly #session: ReturnType<Runtime["load"]>;

  constructor(runtime: Runtime, scale: number) {
    const [out, width, rank] = [symbol("out"), symbol("in"), symbol("rank")];
    const base = input("base", "f32", [out, width]);
    const correction = matmul(input("up", "f32", [out, rank]), input("down", "f32", [rank, width]));
    const merged = add(base, mul(correction, scale));
    this.#session = runtime.load(emitOnnx({ outputs: { merged }, sizes: [] }));
    this.#session.catch(() => {}); // told by the first merge
  }

  /** The corrected matrix, [out, in] in fresh memory. */
  async merge(base: TensorData, down: TensorData, up: TensorData): Promise<TensorData & { dtype: "f32" }> {
    const { merged } = await (await this.#session).run({ base, down, up }, { merged: "fresh" });
    return merged as TensorData & { dtype: "f32" };
  }

  async close(): Promise<void> {
    await (await this.#session).close();
  }
}
