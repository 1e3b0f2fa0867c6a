import {
  answerMessage,
  type ConversationRequest,
  conversationExample,
  questionMessage,
  type TrainingStyle,
} from "../data/conversation.ts";
import type { Dataset } from "../data/example.ts";
import { type Namer, namingExample } from "../data/naming.ts";
import { exampleVisual } from "../data/visual.ts";
import type { ViewLimits } from "../model/views.ts";
import { userMessage } from "../text/prompt.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { reasonsOf } from "../world/language.ts";
import type { WorldOptions, WorldSample, WorldTurn } from "../world/sample.ts";
import type { Named } from "../world/scenery.ts";
import { trainingSeed } from "../world/seeds.ts";
import { composeSample, worldSample } from "../world/world.ts";

/** What a world's samples are made into. */
export interface WorldDataOptions {
  /** Samples of the data set; each number gives another. */
  count: number;
  /** A whole number from 0 that says which samples, see {@link trainingSeed}. */
  seed: number;
  world: WorldOptions;
  /**
   * Whether nothing is shown, and each question comes with what would be seen: the reasons of its answer. What is
   * left to learn is to conclude, at a fraction of the cost.
   */
  told?: boolean | undefined;
  tokenizer: Tokenizer;
  style: TrainingStyle | "naming";
  views: ViewLimits;
  maxTokens: number;
}

/** Samples of the miniature world as a data set. They are made when they are asked for; nothing is stored. */
export function worldDataset(options: WorldDataOptions): Dataset {
  const { count, seed, world, told = false, tokenizer, style, views, maxTokens } = options;
  const first = trainingSeed(seed);
  return {
    length: count,
    async example(index) {
      if (style === "naming") {
        const { id, media, named = [] } = await worldSample(first + index, world);
        const visual = exampleVisual(media.pictures, media.modality, views);
        return namingExample(id, visual, namersOf(named, tokenizer), maxTokens);
      }
      const conversation = told
        ? toldConversation(`told-${first + index}`, composeSample(first + index, world).turns)
        : shownConversation(await worldSample(first + index, world), views, index % 2 === 1);
      return conversationExample({ ...conversation, tokenizer, style, maxTokens });
    },
    close: async () => {},
  };
}

type Conversation = Pick<ConversationRequest, "id" | "messages" | "visuals">;

/** @param tellingLast whether what tells the rest comes last: or most answers could be read off earlier ones. */
function shownConversation(
  { id, media, turns }: WorldSample,
  views: ViewLimits,
  tellingLast: boolean,
): Conversation {
  const visuals = [exampleVisual(media.pictures, media.modality, views)];
  const messages = (tellingLast ? byLength(turns) : turns).flatMap(({ question, answer }, i) => [
    i === 0 ? questionMessage(visuals, question) : userMessage([{ text: question }]),
    answerMessage(answer),
  ]);
  return { id, messages, visuals };
}

function toldConversation(id: string, turns: readonly WorldTurn[]): Conversation {
  const reasoned = turns.filter(({ answer }) => reasonsOf(answer) !== answer);
  const messages = (reasoned.length > 0 ? reasoned : turns).flatMap(({ question, answer, seen }) => [
    userMessage([{ text: `${seen ?? reasonsOf(answer)}. ${question}` }]),
    answerMessage(answer),
  ]);
  return { id, messages, visuals: [] };
}

const byLength = (turns: readonly WorldTurn[]): WorldTurn[] =>
  turns.toSorted((p, q) => p.answer.length - q.answer.length);

/** Names of the first and the second words; what lies under none is told by a full stop. */
function namersOf(named: readonly Named[], tokenizer: Tokenizer): Namer[] {
  return [0, 1].map((which) => (picture, { x, y, width, height }) => {
    const found = named
      .filter((n) => n.picture === picture)
      .map((n) => ({
        n,
        dx: Math.abs(n.x - x) / (n.width + width),
        dy: Math.abs(n.y - y) / (n.height + height),
      }))
      .filter(({ n, dx, dy }) => {
        const within = Math.abs(n.x - x) < n.width / 2 && Math.abs(n.y - y) < n.height / 2;
        const around = Math.abs(n.x - x) <= width / 2 && Math.abs(n.y - y) <= height / 2;
        return (within || around) && dx < 1 && dy < 1;
      })
      .toSorted((p, q) => p.dx + p.dy - q.dx - q.dy)[0];
    return wordToken(tokenizer, found?.n.words[which] ?? ".");
  });
}

/** A word as it stands within a sentence; its first token where it has several. */
function wordToken(tokenizer: Tokenizer, word: string): number {
  const alone = tokenizer.encode(word);
  const within = tokenizer.encode(` ${word}`);
  return (within.length === 1 ? within[0] : alone[0]) as number;
}
