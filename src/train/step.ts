import { DTYPE_BYTES } from "../core/dtype.ts";
import { OryxError, throwIfAborted } from "../core/errors.ts";
import { scalar, type TensorData } from "../core/tensor.ts";
import type { Example } from "../data/example.ts";
import type { Graph } from "../graph/tensor.ts";
import { connectorOperations, languageOperations, sequencePairs, towerOperations } from "../model/cost.ts";
import { PATCH } from "../model/vit.ts";
import { emitOnnx } from "../onnx/emit.ts";
import type { OutputTarget, Runtime, Session } from "../runtime/session.ts";
import { GradientSums } from "./accumulate.ts";
import type { Arena, Part } from "./arena.ts";
import { languageInputs, microBatches, paddedLength, type Sequence, sequenceOf } from "./batch.ts";
import { inLanes } from "./lanes.ts";
import { AdamW, type AdamWOptions, DEFAULT_ADAMW } from "./optimiser.ts";
import type { Parameters } from "./parameters.ts";
import { backwardPasses, learntShares } from "./passes.ts";
import { type PicturePlan, type PictureRun, pixelsOf, planPictures } from "./pictures.ts";
import { Profile } from "./profile.ts";
import {
  connectorBackward,
  connectorForward,
  gradientOf,
  languageBackward,
  languageForward,
  towerBackward,
  towerForward,
} from "./segments.ts";
import { VisualRows } from "./visual-rows.ts";

export interface TrainerOptions {
  adamw?: AdamWOptions | undefined;
  /** Places of one run of the language model at most, padding included; default 1024. A longer sequence runs alone. */
  tokensPerRun?: number | undefined;
  /** Layers of the language model that are passed; default: all. */
  layers?: number | undefined;
  /**
   * Runs at a time; default 1. As many as there are cores, over a runtime of one thread, beats one run over all of
   * them: nothing waits within an operation. Each takes memory for its own gradients and activations.
   */
  lanes?: number | undefined;
  /**
   * Bytes that attention's scores, which are kept for the way back, may take in all runs that go on at a time; default:
   * any. A run that needs more goes alone. A film of 11,000 tokens takes 5 GB in a model of 4 layers of 4 heads.
   */
  scoreBytes?: number | undefined;
  /** Patches of one run of the vision tower at most; default 512. A larger picture runs alone. */
  patchesPerRun?: number | undefined;
}

export interface GradientOptions {
  signal?: AbortSignal | undefined;
  /** What losses are divided by, where these examples are only a part of a batch; default: their own labels. */
  labels?: number | undefined;
}

/** What examples gave. */
export interface BatchLoss {
  /** Mean of -log p over labels in nats: a sum over these examples, divided by {@link GradientOptions.labels}. */
  loss: number;
  /** Tokens that were predicted. */
  labels: number;
  /** Tokens of all sequences, visual ones included, padding not. */
  tokens: number;
}

const GRAPHS = {
  towerForward,
  towerBackward,
  connectorForward,
  connectorBackward,
  languageForward,
  languageBackward,
} as const;
type GraphName = keyof typeof GRAPHS;

/** A session over parameters: they are fed where they lie, and their gradients written where they belong. */
interface Loaded {
  session: Session;
  /** What it has inputs for: a gradient that leads to nothing that is trained is not asked for. */
  inputs: ReadonlySet<string>;
  parameters: Record<string, TensorData>;
  /** Trained parameters whose gradients it gives. */
  trained: string[];
}

/** One run of pictures, its features, and what the connector was fed. */
interface SeenRun {
  run: PictureRun;
  inputs: Record<string, TensorData>;
}

/**
 * Trains a model: gradients of examples are added up, then one update takes them. The two are apart so that gradients
 * can be summed over machines in between ({@link Trainer.gradientArena}). Nothing here is random: the same examples
 * in the same order give the same bits.
 */
export class Trainer {
  readonly parameters: Parameters;
  readonly optimiser: AdamW;
  /** Time since it was last reset: put another in its place. */
  profile = new Profile();
  readonly #runtime: Runtime;
  readonly #sums: GradientSums;
  /** Forward passes that a backward run of each part is worth. */
  readonly #backward: Readonly<Record<Part, number>>;
  readonly #limits: { tokens: number; patches: number; lanes: number; scoreBytes: number };
  readonly #layers: number | undefined;
  readonly #sessions = new Map<GraphName, Promise<Loaded>>();

  private constructor(
    parameters: Parameters,
    runtime: Runtime,
    optimiser: AdamW,
    sums: GradientSums,
    options: TrainerOptions,
  ) {
    const { tokensPerRun = 1024, patchesPerRun = 512, lanes = 1, scoreBytes = Infinity } = options;
    this.parameters = parameters;
    this.optimiser = optimiser;
    this.#runtime = runtime;
    this.#sums = sums;
    const shapes = parameters.names().map((name) => [name, parameters.tensor(name).shape] as const);
    this.#backward = backwardPasses(learntShares(shapes, (name) => parameters.trained.has(name)));
    this.#layers = options.layers;
    this.#limits = { tokens: tokensPerRun, patches: patchesPerRun, lanes, scoreBytes };
  }

  /** The runtime stays the caller's. @throws OryxError `bad_option`, `out_of_memory`, `runtime_failed` */
  static async load(
    parameters: Parameters,
    runtime: Runtime,
    options: TrainerOptions = {},
  ): Promise<Trainer> {
    for (const limit of [options.tokensPerRun, options.patchesPerRun, options.lanes]) {
      if (limit === undefined || (Number.isInteger(limit) && limit > 0)) continue;
      throw new OryxError("bad_option", `a limit of a run is ${limit}`, "give a whole number above 0");
    }
    const { layout } = parameters.trained;
    const optimiser = await AdamW.load(layout, runtime, options.adamw ?? DEFAULT_ADAMW, options.lanes);
    return new Trainer(parameters, runtime, optimiser, await GradientSums.load(layout, runtime), options);
  }

  /** Gradients so far, laid out as the trained parameters. */
  get gradientArena(): Arena {
    return this.#sums.arena;
  }

  /**
   * Computes the loss of examples and adds its gradients to those so far; one call at a time. When it rejects, those
   * so far are gone.
   * @throws OryxError `training_failed` when the loss is no number, `aborted`, `runtime_failed`
   */
  async gradients(examples: readonly Example[], options: GradientOptions = {}): Promise<BatchLoss> {
    try {
      return await this.#pass(examples, options, true);
    } catch (error) {
      this.#sums.clear();
      throw error;
    }
  }

  /** The loss of examples, without gradients. @throws as {@link Trainer.gradients} */
  loss(examples: readonly Example[], options: GradientOptions = {}): Promise<BatchLoss> {
    return this.#pass(examples, options, false);
  }

  /**
   * Takes one step with the gradients so far, which are then forgotten.
   * @returns their norm before clipping @throws OryxError `training_failed` when it is no number
   */
  async update(learningRate: number): Promise<{ gradNorm: number }> {
    return this.profile.timed("update", async () => {
      try {
        const gradNorm = await this.optimiser.update(
          this.parameters.trained,
          this.gradientArena,
          learningRate,
        );
        return { gradNorm };
      } finally {
        this.#sums.clear();
      }
    });
  }

  /** Releases the sessions. */
  async close(): Promise<void> {
    for (const loaded of await Promise.allSettled(this.#sessions.values())) {
      if (loaded.status === "fulfilled") await loaded.value.session.close();
    }
    await this.#sums.close();
    await this.optimiser.close();
  }

  async #pass(
    examples: readonly Example[],
    { signal, labels: divisor }: GradientOptions,
    backward: boolean,
  ): Promise<BatchLoss> {
    const { plan, sequences } = await this.profile.timed("prepare", () => {
      const plan = planPictures(examples, this.#limits.patches);
      return { plan, sequences: examples.map((e, i) => sequenceOf(e, plan.sequences[i] ?? [])) };
    });
    const labels = sequences.reduce((n, s) => n + s.labels, 0);
    const tokens = sequences.reduce((n, s) => n + s.places.length, 0);
    const learnt = sequences.filter((s) => s.labels > 0);
    if (learnt.length === 0) return { loss: 0, labels, tokens };
    const visual = new VisualRows(plan.rows, this.parameters.model.config.language.hiddenSize);
    const seen = await this.profile.timed("vision forward", () => this.#see(plan, visual, signal));
    const options = { divisor: divisor ?? labels, backward, signal };
    const loss = await this.profile.timed("language", () => this.#read(learnt, visual, options));
    if (backward && this.#visionIsTrained) {
      await this.profile.timed("vision backward", () => this.#lookBack(seen, visual, signal));
    }
    return { loss, labels, tokens };
  }

  /** Pictures to visual rows. */
  async #see(plan: PicturePlan, visual: VisualRows, signal: AbortSignal | undefined): Promise<SeenRun[]> {
    const seen: SeenRun[] = [];
    const see = async (run: PictureRun, index: number) => {
      const { features } = await this.#run("towerForward", pixelInputs(run), { features: "fresh" }, signal);
      const inputs = { features: features as TensorData, ...sizes(run) };
      // The marks are the same in every run; one is enough.
      const outputs = { visual: visual.of(run), ...(index === 0 && { marks: visual.marks }) };
      await this.#run("connectorForward", inputs, outputs, signal);
      return inputs;
    };
    await inLanes(plan.runs, this.#limits.lanes, see, (inputs, run) => {
      seen.push({ run, inputs });
      this.profile.flops += this.#operations("tower", run) + this.#operations("connector", run);
    });
    return seen;
  }

  /** Sequences through the language model: their loss, and its gradients. */
  async #read(
    sequences: readonly Sequence[],
    visual: VisualRows,
    { divisor, backward, signal }: { divisor: number; backward: boolean; signal: AbortSignal | undefined },
  ): Promise<number> {
    const labels = scalar(divisor);
    const upstream = gradientOf("visual");
    const outputs: Record<string, OutputTarget> = { loss: "fresh" };
    if (backward && this.#visionIsTrained) outputs[upstream] = "fresh";
    let total = 0;
    const read = async (batch: readonly Sequence[]) => {
      const target = backward ? this.#target("language") : undefined;
      const fed = await this.profile.timed("prepare", () => languageInputs(batch));
      const inputs = { ...fed.inputs, visual: visual.at(fed.visual, [fed.n, fed.length]), labels };
      const name = backward ? "languageBackward" : "languageForward";
      const { loss, [upstream]: gradients } = await this.#run(name, inputs, outputs, signal, target);
      return { fed, target, loss, gradients };
    };
    const batches = microBatches(sequences, this.#limits.tokens, this.#limits.lanes);
    const { language } = this.parameters.model.config;
    const passed = { ...language, layers: this.#layers ?? language.layers };
    const room = {
      most: this.#limits.scoreBytes,
      neededBy: (batch: readonly Sequence[]) =>
        DTYPE_BYTES.f32 * passed.layers * passed.heads * batch.length * sequencePairs(paddedLength(batch)),
    };
    const take = async ({ fed, target, loss, gradients }: Awaited<ReturnType<typeof read>>) => {
      total += floats(loss)[0] as number;
      checkLoss(total);
      const [tokens, predicted] = [fed.n * fed.length, fed.inputs.chosen.data.length];
      const work = { tokens, pairs: fed.n * sequencePairs(fed.length), predicted };
      const once = languageOperations(passed, work);
      this.profile.flops += (backward ? 1 + this.#backward.language : 1) * once;
      if (gradients) visual.addAt(fed.visual, floats(gradients));
      await this.#take("language", target);
    };
    await inLanes(batches, this.#limits.lanes, read, take, room);
    return total;
  }

  /** Gradients of visual rows to those of the connector and, through the features, of the tower. */
  async #lookBack(
    seen: readonly SeenRun[],
    visual: VisualRows,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const towerIsTrained = this.#isTrained("tower");
    const upstream = gradientOf("features");
    const outputs: Record<string, OutputTarget> = towerIsTrained ? { [upstream]: "fresh" } : {};
    const lookBack = async ({ run, inputs }: SeenRun, index: number) => {
      const targets = { connector: this.#target("connector"), tower: this.#target("tower") };
      const fed = {
        ...inputs,
        [gradientOf("visual")]: visual.gradientOf(run),
        // The marks belong to all runs together, and count once.
        [gradientOf("marks")]: index === 0 ? visual.marksGradient : visual.noMarks,
      };
      const results = await this.#run("connectorBackward", fed, outputs, signal, targets.connector);
      if (towerIsTrained) {
        const pixels = { ...pixelInputs(run), [upstream]: results[upstream] as TensorData };
        await this.#run("towerBackward", pixels, {}, signal, targets.tower);
      }
      return targets;
    };
    await inLanes(seen, this.#limits.lanes, lookBack, async (targets, { run }) => {
      await this.#take("connector", targets.connector);
      await this.#take("tower", targets.tower);
      for (const part of ["connector", "tower"] as const)
        this.profile.flops += this.#backward[part] * this.#operations(part, run);
    });
  }

  /** Of one forward pass over a run of pictures. */
  #operations(part: "tower" | "connector", { pictures, height, width, rows }: PictureRun): number {
    const { config, visionShape, compressorWidth } = this.parameters.model;
    const [n, patches] = [pictures.length, height * width];
    if (part === "tower") return towerOperations(visionShape, n, patches);
    const { hiddenSize } = config.language;
    const widths = { width: visionShape.width, compressorWidth, hiddenSize };
    return connectorOperations(widths, n * patches, n * rows);
  }

  /** Where a run of a part writes its gradients; nothing where the part is frozen. */
  #target(part: Part): Arena | undefined {
    return this.#isTrained(part) ? this.#sums.target(part) : undefined;
  }

  async #take(part: Part, written: Arena | undefined): Promise<void> {
    if (written) await this.profile.timed("accumulate", () => this.#sums.take(part, written));
  }

  #isTrained(part: Part): boolean {
    const { start, end } = this.parameters.trained.layout.stretch(part);
    return end > start;
  }

  get #visionIsTrained(): boolean {
    return this.#isTrained("tower") || this.#isTrained("connector");
  }

  /** Runs a graph over the parameters; gradients of trained ones are written into the target. */
  async #run(
    name: GraphName,
    inputs: Readonly<Record<string, TensorData>>,
    outputs: Readonly<Record<string, OutputTarget>>,
    signal: AbortSignal | undefined,
    target?: Arena,
  ): Promise<Record<string, TensorData>> {
    throwIfAborted(signal);
    const { session, inputs: known, parameters, trained } = await this.#load(name);
    const gradients: Record<string, TensorData> = {};
    for (const p of trained) if (target) gradients[gradientOf(p)] = target.tensor(p);
    const fed = Object.fromEntries(Object.entries(inputs).filter(([input]) => known.has(input)));
    return session.run({ ...parameters, ...fed }, { ...outputs, ...gradients }, { signal });
  }

  #load(name: GraphName): Promise<Loaded> {
    let loading = this.#sessions.get(name);
    if (loading === undefined) {
      loading = this.#loadNow(name);
      this.#sessions.set(name, loading);
    }
    return loading;
  }

  async #loadNow(name: GraphName): Promise<Loaded> {
    const { parameters } = this;
    const inputs = name === "connectorBackward" ? this.#isTrained("tower") : this.#visionIsTrained;
    const graph: Graph = GRAPHS[name](parameters, { inputs, layers: this.#layers });
    const session = await this.#runtime.load(emitOnnx(graph));
    const fed = session.inputNames.filter((input) => parameters.has(input));
    const given = new Set(session.outputNames);
    return {
      session,
      inputs: new Set(session.inputNames),
      parameters: Object.fromEntries(fed.map((input) => [input, parameters.tensor(input)])),
      trained: [...parameters.trained.layout.slots.keys()].filter((p) => given.has(gradientOf(p))),
    };
  }
}

const floats = (t: TensorData | undefined) => (t as TensorData & { dtype: "f32" }).data;

function pixelInputs(run: PictureRun): Record<string, TensorData> {
  const shape = [run.pictures.length, PATCH * run.height, PATCH * run.width, 3];
  return { pixels: { dtype: "u8", shape, data: pixelsOf(run) } };
}

function sizes({ height, width, k }: PictureRun): Record<"rows" | "columns" | "k", TensorData> {
  const size = (value: number): TensorData => ({
    dtype: "i64",
    shape: [],
    data: BigInt64Array.of(BigInt(value)),
  });
  return { rows: size(height / k), columns: size(width / k), k: size(k) };
}

/** @throws OryxError `training_failed` */
function checkLoss(loss: number): void {
  if (Number.isFinite(loss)) return;
  const remedy = "lower the learning rate, or go back to a snapshot";
  throw new OryxError("training_failed", `the loss is ${loss}`, remedy);
}
