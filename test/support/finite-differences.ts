import fc from "fast-check";
import { Random } from "../../src/core/random.ts";
import { elementCount, type TensorData } from "../../src/core/tensor.ts";
import { type Dim, evaluate, type Shape, symbol } from "../../src/graph/dim.ts";
import { gradients } from "../../src/graph/gradient.ts";
import { add, mul } from "../../src/graph/ops.ts";
import { input, type Tensor } from "../../src/graph/tensor.ts";
import { emitOnnx } from "../../src/onnx/emit.ts";
import type { Runtime, Session } from "../../src/runtime/session.ts";
import { decompose } from "./decompose.ts";

/** Gradients against the slower truth: differences of the function's own values, in double precision. */

/** A function of real tensors whose gradients are checked. */
export interface Differentiable {
  /** Shapes of the inputs, over dimensions that `dim` gives by name: a number, or a symbol known only at run time. */
  shapes(dim: (name: string) => Dim): Record<string, Shape>;
  /** The function; its operations without kernels in double precision are computed by their definitions. */
  f(inputs: Record<string, Tensor>): Tensor;
  /** Inputs are drawn from here; -2 to 2 if it is not given. */
  from?: readonly [number, number];
}

type Values = Record<string, TensorData & { dtype: "f64" }>;

const STEP = 1e-5;
const TOLERANCE = 1e-6;

/**
 * Throws with fast-check's seed unless the gradients of random weightings of the outputs equal central differences,
 * for many random sizes (`sizes`: least and most of each dimension's name), known and unknown when the graph is built.
 */
export async function expectGradients(
  runtime: Runtime,
  sizes: Readonly<Record<string, readonly [number, number]>>,
  describe: (random: Random) => Differentiable,
): Promise<void> {
  const ranges = Object.entries(sizes).map(([name, [min, max]]) => [name, fc.integer({ min, max })]);
  const drawn: fc.Arbitrary<Record<string, number>> = fc.record(Object.fromEntries(ranges));
  await fc.assert(
    fc.asyncProperty(drawn, fc.boolean(), fc.nat(), async (values, symbolic, seed) => {
      const random = new Random(seed);
      await checkOnce(runtime, describe(random), values, symbolic, random);
    }),
    { numRuns: 25 },
  );
}

async function checkOnce(
  runtime: Runtime,
  { shapes, f, from = [-2, 2] }: Differentiable,
  sizes: Record<string, number>,
  symbolic: boolean,
  random: Random,
): Promise<void> {
  const draw = (shape: Shape, [low, high]: readonly [number, number]) =>
    drawTensor(
      shape.map((d) => evaluate(d, sizes)),
      () => low + (high - low) * random.next(),
    );
  const declared = Object.entries(shapes((name) => (symbolic ? symbol(name) : (sizes[name] as number))));
  const inputs = Object.fromEntries(declared.map(([name, shape]) => [name, input(name, "f64", shape)]));
  const values: Values = Object.fromEntries(declared.map(([name, shape]) => [name, draw(shape, from)]));
  const y = f(inputs);
  const upstream = input("upstream", "f64", y.shape);
  const weights = draw(y.shape, [-1, 1]);
  const [result, ...found] = basic([y, ...gradients([{ of: y, upstream }], Object.values(inputs))]);
  const forward = await runtime.load(emitOnnx({ outputs: { result: result as Tensor }, sizes: [] }));
  // The function itself is an output too, so that every input is there and tells its dimensions.
  const outputs = Object.fromEntries(Object.keys(inputs).map((name, i) => [`d ${name}`, found[i] as Tensor]));
  const backward = await runtime.load(
    emitOnnx({ outputs: { ...outputs, result: result as Tensor }, sizes: [] }),
  );
  try {
    const analytic = await run(backward, { ...values, upstream: weights });
    for (const [name, value] of Object.entries(values)) {
      const differences = await centralDifferences(value.data, async () => {
        const { data } = (await run(forward, values)).result as TensorData;
        return weights.data.reduce((sum, w, i) => sum + w * Number(data[i]), 0);
      });
      expectClose(name, analytic[`d ${name}`] as TensorData, value.shape, differences);
    }
  } finally {
    await forward.close();
    await backward.close();
  }
}

function drawTensor(shape: readonly number[], next: () => number): TensorData & { dtype: "f64" } {
  return { dtype: "f64", shape, data: Float64Array.from({ length: elementCount(shape) }, next) };
}

/** All outputs, from those of the values that the session takes. */
function run(session: Session, values: Values): Promise<Record<string, TensorData>> {
  const taken = Object.entries(values).filter(([name]) => session.inputNames.includes(name));
  const fresh = Object.fromEntries(session.outputNames.map((name) => [name, "fresh" as const]));
  return session.run(Object.fromEntries(taken), fresh);
}

/** Slopes of a function along each element of x, which it reads from where x lies. */
async function centralDifferences(x: Float64Array, f: () => Promise<number>): Promise<number[]> {
  const slopes: number[] = [];
  for (let i = 0; i < x.length; i++) {
    const at = x[i] as number;
    x[i] = at + STEP;
    const above = await f();
    x[i] = at - STEP;
    const below = await f();
    x[i] = at;
    slopes.push((above - below) / (2 * STEP));
  }
  return slopes;
}

function expectClose(
  name: string,
  actual: TensorData,
  shape: readonly number[],
  expected: readonly number[],
): void {
  if (actual.shape.join() !== shape.join()) {
    throw new Error(`the gradient of ${name} is [${actual.shape}], not [${shape}]`);
  }
  expected.forEach((e, i) => {
    const a = Number(actual.data[i]);
    // Written so that not a number is not close.
    if (!(Math.abs(a - e) <= TOLERANCE * (1 + Math.abs(e)))) {
      throw new Error(`the gradient of ${name}[${i}] of [${shape}] is ${a}, by differences ${e}`);
    }
  });
}

/** The same values by operations that have kernels in double precision. */
const basic = (roots: readonly Tensor[]) =>
  decompose(decompose(roots), { Erf: ([x]) => [erfSeries(x as Tensor)] });

/** The error function by its series, exact to double precision up to |x| = 3: no kernel computes it in f64. */
function erfSeries(x: Tensor): Tensor {
  const square = mul(x, x);
  let power = mul(x, 2 / Math.sqrt(Math.PI));
  let sum = power;
  for (let n = 1; n <= 60; n++) {
    power = mul(mul(power, square), -1 / n);
    sum = add(sum, mul(power, 1 / (2 * n + 1)));
  }
  return sum;
}
