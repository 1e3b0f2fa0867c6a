import { KINDS } from "./sample.ts";
import { composeSample } from "./world.ts";

/** What the world says in `count` training samples of every kind: questions and answers, for a tokenizer to learn from. */
export function* corpus(count: number, seed: number): Generator<string, void, undefined> {
  for (const kind of KINDS) {
    for (let i = 0; i < count; i++) {
      const { turns } = composeSample(seed + i, { split: "train", kinds: { [kind]: 1 } });
      for (const { question, answer } of turns) {
        yield question;
        yield answer;
      }
    }
  }
}
