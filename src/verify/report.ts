import type { Device } from "../runtime/session.ts";
import { firstDifference, levelDifference, relativeError } from "./compare.ts";
import type { ExpectedStage } from "./golden.ts";
import type { StageSample } from "./stages.ts";

/** Largest relative error of a stage after the pixels, which must be exact. */
export const TOLERANCE = 1e-4;

/** What a check found. */
export type Finding =
  /** Norm of the difference over norm; passes up to {@link TOLERANCE}. */
  | { kind: "relative"; error: number }
  /** Pixels that differ and their largest difference in 8-bit levels; passes at 0. */
  | { kind: "levels"; differing: number; most: number }
  /** Two lists of tokens, and where they first differ; passes when they do not. */
  | { kind: "tokens"; actual: readonly number[]; expected: readonly number[]; at?: number }
  | { kind: "count"; actual: number; expected: number }
  /** Shapes differ, so that nothing could be compared. */
  | { kind: "shape"; actual: readonly number[] | undefined; expected: readonly number[] };

/** One comparison with the reference. */
export interface Check {
  case: string;
  /** A stage of `cases.json`, or `input_ids`, `sequence_length`, `greedy`; `greedy_chunked` and `greedy_uncached`. */
  name: string;
  passed: boolean;
  finding: Finding;
}

export interface VerifyReport {
  /** The folder. */
  dir: string;
  device: Device;
  passed: boolean;
  checks: readonly Check[];
  /** Time of loading and computing. */
  totalMs: number;
}

/** A stage against what the reference kept of it. */
export function checkStage(
  of: string,
  stage: ExpectedStage,
  sample: StageSample,
  expected: Float32Array,
): Check {
  const at = { case: of, name: stage.name };
  if (`${sample.shape}` !== `${stage.shape}`) {
    return { ...at, passed: false, finding: { kind: "shape", actual: sample.shape, expected: stage.shape } };
  }
  if (stage.name.startsWith("pixels")) {
    const found = levelDifference(sample.values, expected);
    return { ...at, passed: found.differing === 0, finding: { kind: "levels", ...found } };
  }
  const error = relativeError(sample.values, expected);
  return { ...at, passed: error <= TOLERANCE, finding: { kind: "relative", error } };
}

export function checkTokens(
  of: string,
  name: string,
  actual: readonly number[],
  expected: readonly number[],
): Check {
  const at = firstDifference(actual, expected);
  const finding: Finding = { kind: "tokens", actual, expected, ...(at !== undefined && { at }) };
  return { case: of, name, passed: at === undefined, finding };
}

export function checkCount(of: string, name: string, actual: number, expected: number): Check {
  return { case: of, name, passed: actual === expected, finding: { kind: "count", actual, expected } };
}

/** One line of words on what a check found. */
export function describe(finding: Finding): string {
  switch (finding.kind) {
    case "relative":
      return finding.error.toExponential(1);
    case "levels": {
      const { differing, most } = finding;
      return differing === 0 ? "exact" : `${differing} differ, by ${most} of 255 at most`;
    }
    case "tokens": {
      const { actual, expected, at } = finding;
      if (at === undefined) return `${expected.length} tokens`;
      return `token ${at} is ${actual[at] ?? "missing"} instead of ${expected[at] ?? "none"}`;
    }
    case "count":
      return finding.actual === finding.expected
        ? `${finding.actual}`
        : `${finding.actual} instead of ${finding.expected}`;
    case "shape":
      return `shape [${finding.actual ?? "?"}] instead of [${finding.expected}]`;
  }
}

/** The report as a table, a line for each check. */
export function reportTable({ checks }: VerifyReport): string {
  const rows = checks.map((c) => [c.case, c.name, c.passed ? "✓" : "✗", describe(c.finding)] as const);
  const width = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length));
  const [caseWidth, nameWidth] = [width(0), width(1)];
  const lines = rows.map(([of, name, mark, words]) => {
    return `${of.padEnd(caseWidth)}  ${name.padEnd(nameWidth)}  ${mark} ${words}`;
  });
  const failed = checks.filter((c) => !c.passed).length;
  const verdict =
    failed === 0 ? `${checks.length} checks passed` : `${failed} of ${checks.length} checks failed`;
  return [...lines, verdict].join("\n");
}
