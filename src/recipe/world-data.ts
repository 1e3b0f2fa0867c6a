import {
  answerMessage,
  conversationExample,
  questionMessage,
  type TrainingStyle,
} from "../data/conversation.ts";
import type { Dataset } from "../data/example.ts";
import { exampleVisual } from "../data/visual.ts";
import type { ViewLimits } from "../model/views.ts";
import { userMessage } from "../text/prompt.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { WorldOptions, WorldTurn } from "../world/sample.ts";
import { trainingSeed } from "../world/seeds.ts";
import { worldSample } from "../world/world.ts";

/** What a world's samples are made into. */
export interface WorldDataOptions {
  /** Samples of the data set; each number gives another. */
  count: number;
  /** A whole number from 0 that says which samples, see {@link trainingSeed}. */
  seed: number;
  world: WorldOptions;
  tokenizer: Tokenizer;
  style: TrainingStyle;
  views: ViewLimits;
  maxTokens: number;
}

/** Samples of the miniature world as a data set. They are made when they are asked for; nothing is stored. */
export function worldDataset(options: WorldDataOptions): Dataset {
  const { count, seed, world, tokenizer, style, views, maxTokens } = options;
  const first = trainingSeed(seed);
  return {
    length: count,
    async example(index) {
      const { id, media, turns } = await worldSample(first + index, world);
      const visuals = [exampleVisual(media.pictures, media.modality, views)];
      // Half of the conversations leave for last what tells the rest: or most answers could be read off earlier ones.
      const asked = index % 2 === 0 ? turns : byLength(turns);
      const messages = asked.flatMap((turn, i) => [
        i === 0 ? questionMessage(visuals, turn.question) : userMessage([{ text: turn.question }]),
        answerMessage(turn.answer),
      ]);
      return conversationExample({ id, messages, visuals, tokenizer, style, maxTokens });
    },
    close: async () => {},
  };
}

const byLength = (turns: readonly WorldTurn[]): WorldTurn[] =>
  turns.toSorted((p, q) => p.answer.length - q.answer.length);
