import { count } from "../core/figures.ts";
import type { Plan, Progress, Stage } from "../engine/request.ts";
import type { StatusLine } from "./status-line.ts";
import { planLine, timeLeft } from "./words.ts";

/** Shows how a request gets on. Decoding and encoding overlap, and share the line. */
export class RequestProgress {
  readonly #line: StatusLine;
  readonly #isAnswerSeen: boolean;
  readonly #startMs = new Map<Stage, number>();
  readonly #told = new Map<Stage, Progress>();

  /** @param isAnswerSeen the answer appears on the same terminal, where nothing may come between its words */
  constructor(line: StatusLine, isAnswerSeen: boolean) {
    this.#line = line;
    this.#isAnswerSeen = isAnswerSeen;
  }

  readonly onPlan = (plan: Plan): void => {
    const isNothingToSee = plan.items.length === 0;
    if (!isNothingToSee) this.#line.keep(planLine(plan));
    if (plan.isReduced) this.#line.keep("less is shown than usual, so that it fits");
    this.#line.show(isNothingToSee ? "prefill" : "decode", true);
    const now = performance.now();
    for (const stage of ["decode", "encode"] as const) this.#startMs.set(stage, now);
  };

  readonly onProgress = (progress: Progress): void => {
    const { stage, done } = progress;
    if (stage === "generate") {
      if (!this.#isAnswerSeen) this.#line.show(`generate ${count(done)} tokens`);
      return;
    }
    const isNew = !this.#told.has(stage);
    const now = performance.now();
    if (!this.#startMs.has(stage)) this.#startMs.set(stage, now);
    if (stage === "prefill") this.#told.clear();
    this.#told.set(stage, progress);
    this.#line.show(this.#text(now), isNew);
  };

  /** "decode 24 of 64, encode 16 of 64 · 9 s left": the time of the last stage, which waits for those before it. */
  #text(nowMs: number): string {
    const stages = [...this.#told.values()];
    const last = stages.at(-1) as Progress;
    const unit = last.stage === "prefill" ? " tokens" : "";
    const shown = stages.map(({ stage, done, total }) => `${stage} ${count(done)} of ${count(total)}${unit}`);
    const elapsedMs = nowMs - (this.#startMs.get(last.stage) ?? nowMs);
    return shown.join(", ") + timeLeft(last.done, last.total, elapsedMs);
  }
}
