import type { AnswerStream } from "../engine/answer.ts";
import type { Answer } from "../engine/request.ts";
import type { ModelChoice } from "./model.ts";
import type { Shell } from "./shell.ts";
import type { StatusLine } from "./status-line.ts";

/** Prints an answer: its words as they come, or with --json the whole as one line. */
export async function printAnswer(
  stream: AnswerStream,
  model: ModelChoice,
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
}

/** The shape of an answer in JSON: the engine's own, with the model beside it. */
export function answerJson({ text, ...answer }: Answer, { name, randomWeights }: ModelChoice) {
  return { answer: text, model: name, randomWeights, ...answer };
}
