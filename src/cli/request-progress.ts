import type { Plan, Progress, Stage } from "../engine/request.ts";
import type { StatusLine } from "./status-line.ts";
import { count, planLine, timeLeft } from "./words.ts";

const UNITS: Readonly<Record<Stage, string>> = {
  decode: "pictures",
  encode: "pictures",
  prefill: "tokens",
  generate: "tokens",
};

/** Shows how a request gets on. Decoding and encoding overlap, and share the line. */
export class RequestProgress {
  readonly #line: StatusLine;
  readonly #isAnswerSeen: boolean;
  readonly #startMs = new Map<Stage, number>();
  readonly #told = new Map<Stage, string>();

  /** @param isAnswerSeen the answer appears on the same terminal, where nothing may come between its words */
  constructor(line: StatusLine, isAnswerSeen: boolean) {
    this.#line = line;
    this.#isAnswerSeen = isAnswerSeen;
  }

  readonly onPlan = (plan: Plan): void => {
    const isNothingToSee = plan.items.length === 0;
    if (!isNothingToSee) this.#line.keep(planLine(plan));
    this.#line.show(isNothingToSee ? "prefill" : "decode", true);
    const now = performance.now();
    for (const stage of ["decode", "encode"] as const) this.#startMs.set(stage, now);
  };

  readonly onProgress = ({ stage, done, total }: Progress): void => {
    if (stage === "generate") {
      if (!this.#isAnswerSeen) this.#line.show(`generate ${count(done)} tokens`);
      return;
    }
    const isNew = !this.#told.has(stage);
    const now = performance.now();
    const start = this.#startMs.get(stage) ?? now;
    this.#startMs.set(stage, start);
    if (stage === "prefill") this.#told.clear();
    this.#told.set(
      stage,
      `${stage} ${count(done)} of ${count(total)} ${UNITS[stage]}${timeLeft(done, total, now - start)}`,
    );
    this.#line.show([...this.#told.values()].join(", "), isNew);
  };
}
