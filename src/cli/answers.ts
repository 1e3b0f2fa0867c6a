import { count } from "../core/figures.ts";
import type { AnswerStream } from "../engine/answer.ts";
import type { Answer, Timings } from "../engine/request.ts";
import type { ChosenModel } from "./model.ts";
import type { Shell } from "./shell.ts";
import type { StatusLine } from "./status-line.ts";
import { tenths } from "./words.ts";

/** Prints an answer: its words as they come, or with --json the whole as one line. */
export async function printAnswer(
  stream: AnswerStream,
  model: ChosenModel,
  shell: Shell,
  line: StatusLine,
): Promise<void> {
  if (shell.json) {
    shell.printJson(answerJson(await stream.answer(), model));
    return;
  }
  let isLineOpen = false;
  try {
    for await (const { text } of stream) {
      line.clear();
      shell.print(text);
      isLineOpen = true;
    }
    isLineOpen = true; // an answer without words is a line as well
  } finally {
    line.clear();
    if (isLineOpen) shell.print("\n");
  }
  const { result } = await stream.answer();
  if (result && "unparsed" in result) shell.note(`note: ${result.unparsed}`);
  if (shell.isWatched) tellIfCut(await stream.answer(), shell);
}

/** Words that stop in the middle of a sentence would leave a person wondering. */
function tellIfCut({ finish, tokens, plan }: Answer, shell: Shell): void {
  if (finish !== "length") return;
  const { cachedTokens, promptTokens, contextTokens } = plan;
  // The answer's last token takes no room.
  const isFull = cachedTokens + promptTokens + tokens > contextTokens;
  const why = isFull ? `the context of ${count(contextTokens)} is full` : "--max-tokens";
  shell.note(`note: cut at ${count(tokens)} tokens (${why})`);
}

/** The shape of an answer in JSON: the engine's own, with the model beside it. */
export function answerJson({ text, timings, ...answer }: Answer, { name, randomWeights }: ChosenModel) {
  return { answer: text, model: name, randomWeights, ...answer, timings: rounded(timings) };
}

/** Milliseconds to a tenth: further digits are noise. */
function rounded({ tokensPerSecond, ...times }: Timings): Timings {
  const { decodeMs, encodeMs, prefillMs, firstTokenMs, totalMs } = times;
  return {
    decodeMs: tenths(decodeMs),
    encodeMs: tenths(encodeMs),
    prefillMs: tenths(prefillMs),
    firstTokenMs: tenths(firstTokenMs),
    totalMs: tenths(totalMs),
    tokensPerSecond,
  };
}
