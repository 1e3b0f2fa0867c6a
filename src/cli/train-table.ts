import { count } from "../core/figures.ts";
import { textTable } from "../core/text-table.ts";
import type { StageEstimate } from "../recipe/estimate.ts";
import type { Plan, Skips } from "../recipe/plan.ts";
import { byteCount, duration } from "./words.ts";

/** What a recipe takes, as a table: a row for each stage. */
export function planTable({ recipe, stages, machines, skips }: Plan): string {
  const head = ["stage", "trained", "of", "steps", "tokens", "tokens each", "memory", "operations"];
  const timed = machines.operationsPerSecond !== undefined;
  const rows = stages.map((stage) => [...cells(stage), ...(timed ? [days(stage.seconds as number)] : [])]);
  const total = stages.reduce((sum, { operations }) => sum + operations, 0);
  const lines = textTable([timed ? [...head, "time"] : head, ...rows]);
  const seconds = stages.reduce((sum, stage) => sum + (stage.seconds ?? 0), 0);
  const on = machines.count === 1 ? "one machine" : `${count(machines.count)} machines`;
  const sum = timed
    ? `${powers(total)} operations, ${days(seconds)} on ${on} of ${powers(machines.operationsPerSecond as number)} operations a second`
    : `${powers(total)} operations; --gflops N tells how long they take`;
  const memory =
    "Memory is of one machine: weights, gradients and moments in f32, and activations of a micro-batch.";
  return [recipe, lines, sum, memory, ...skips.map(skipLine)].join("\n");
}

/** "stage 2: of 4 examples of source 3, 2 would be skipped: ..." */
export const skipLine = ({ stage, source, looked, skipped, problem }: Skips): string =>
  `stage ${stage}: of ${looked} examples of source ${source}, ${skipped} would be skipped: ${problem}`;

function cells({
  stage,
  parameters,
  trained,
  steps,
  tokens,
  example,
  memory,
  operations,
}: StageEstimate): string[] {
  const sum = (parts: Readonly<Record<string, number>>) => Object.values(parts).reduce((a, b) => a + b, 0);
  return [
    stage,
    millions(sum(trained)),
    millions(sum(parameters)),
    count(steps),
    millions(tokens),
    count(example.tokens),
    byteCount(Math.round(sum(memory))),
    powers(operations),
  ];
}

/** 7.6e9 -> "7,600 M" */
const millions = (n: number): string => (n < 1e7 ? `${(n / 1e6).toFixed(2)} M` : `${count(n / 1e6)} M`);
const powers = (n: number): string => n.toExponential(1).replace("e+", "e");
const days = (seconds: number): string =>
  seconds < 172_800 ? duration(seconds) : `${(seconds / 86_400).toFixed(1)} days`;
