import { OryxError } from "../core/errors.ts";
import { visualTokens } from "../model/visual.ts";
import {
  DEFAULT_SYSTEM_PROMPT,
  encodeSegments,
  headerSegments,
  type Message,
  type PromptStyle,
  type PromptToken,
  recordMessage,
  type Segment,
  turnSegments,
  visualQuestion,
} from "../text/prompt.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type Example, type ExampleVisual, IGNORED } from "./example.ts";

/** Conversations as tokens to learn: which of them count as answers, and how long the sequence becomes. */

/**
 * How a conversation is laid out for training: as the model of a {@link PromptStyle} is asked, or "plain", the
 * template of the first alignment stage: the visuals, the caption and a newline, with no word around them.
 */
export type TrainingStyle = PromptStyle | "plain";

/** One turn of a record. `<image>` in a human's turn is where a visual stands; a model's turn is taken literally. */
export interface RecordTurn {
  from: "system" | "human" | "gpt";
  value: string;
}

/** Tokens of a conversation with, beside each, its label: see {@link Example}. */
export interface LabelledPrompt {
  prompt: PromptToken[];
  labels: number[];
}

export interface ConversationRequest {
  /** Names the example in the log. */
  id: string;
  messages: readonly Message[];
  /** What `{ visual: n }` in the messages means. Each is shown once, in this order. */
  visuals: readonly ExampleVisual[];
  tokenizer: Tokenizer;
  style: TrainingStyle;
  /** Tokens that the sequence may have, visual ones included. */
  maxTokens: number;
}

/**
 * A conversation as an example to learn from.
 * @throws OryxError `sample_invalid` (no answer, a text too long, visuals that are not shown once each in order),
 *   `sample_too_long`, `tokenizer_invalid`
 */
export function conversationExample(request: ConversationRequest): Example {
  const { id, messages, visuals, tokenizer, style, maxTokens } = request;
  const { prompt, labels } = labelledPrompt(tokenizer, style, messages, visuals.length);
  return { id, prompt, labels, visuals, tokens: checkedLength(prompt, visuals, maxTokens) };
}

/**
 * Tokens and labels of a conversation of `visuals` visuals.
 *
 * In "qwen" style every turn's `<|im_start|>`, `<|im_end|>` and last newline are learnt, and of an assistant's turn
 * everything behind the role line too. "llama" follows by analogy: the same three markers and the same answers; it
 * differs in how text is cut into tokens only. In "plain" style the first answer is the caption, encoded with the
 * newline behind it as one text, and both are learnt; questions are left out.
 *
 * @throws OryxError `sample_invalid`, `tokenizer_invalid`
 */
export function labelledPrompt(
  tokenizer: Tokenizer,
  style: TrainingStyle,
  messages: readonly Message[],
  visuals: number,
): LabelledPrompt {
  const answer = messages.find((m) => m.role === "assistant");
  if (answer === undefined) throw invalid("it has no answer to learn", "give it a turn of the assistant");
  const pieces = style === "plain" ? plainPieces(answer, visuals) : chatPieces(style, messages);
  const labelled: LabelledPrompt = { prompt: [], labels: [] };
  for (const { segment, learnt } of pieces) {
    for (const token of encoded(tokenizer, segment)) {
      labelled.prompt.push(token);
      labelled.labels.push(learnt && typeof token === "number" ? token : IGNORED);
    }
  }
  checkVisuals(labelled.prompt, visuals);
  return labelled;
}

/**
 * Tokens of the sequence, once visuals stand where the prompt has their places.
 * @throws OryxError `sample_too_long`
 */
export function checkedLength(
  prompt: readonly PromptToken[],
  visuals: readonly Pick<ExampleVisual, "shape" | "count">[],
  maxTokens: number,
): number {
  const shown = visuals.reduce(
    (n, { shape, count }) => n + visualTokens(shape.modality, shape.views, shape.k, count),
    0,
  );
  return allowedLength(prompt.length - visuals.length + shown, shown, maxTokens);
}

/** @param shown how many of the tokens are visual @throws OryxError `sample_too_long` */
export function allowedLength(tokens: number, shown: number, maxTokens: number): number {
  if (tokens <= maxTokens) return tokens;
  const problem = `it has ${tokens} tokens, ${shown} of them visual; ${maxTokens} are allowed`;
  throw new OryxError("sample_too_long", problem, "allow more tokens, or smaller or fewer pictures");
}

/** A piece of a conversation, and whether it is to be learnt. */
interface Piece {
  segment: Segment;
  learnt: boolean;
}

function chatPieces(style: PromptStyle, messages: readonly Message[]): Piece[] {
  const system: Message = { role: "system", content: [{ text: DEFAULT_SYSTEM_PROMPT }] };
  const turns = messages[0]?.role === "system" ? messages : [system, ...messages];
  return turns.flatMap((turn) => turnPieces(style, turn));
}

/** A turn begins with its marker and ends with a marker and a newline; between them is the role line, then content. */
function turnPieces(style: PromptStyle, turn: Message): Piece[] {
  const segments = turnSegments(style, turn);
  const content = turn.role === "assistant" ? headerSegments(style, turn.role).length : segments.length - 2;
  return segments.map((segment, i) => ({ segment, learnt: i === 0 || i >= content }));
}

function plainPieces({ content }: Message, visuals: number): Piece[] {
  const caption = content.map((part) => ("text" in part ? part.text : "")).join("");
  const shown = Array.from(
    { length: visuals },
    (_, visual): Piece => ({
      segment: { visual },
      learnt: false,
    }),
  );
  return [...shown, { segment: { text: `${caption}\n` }, learnt: true }];
}

function encoded(tokenizer: Tokenizer, segment: Segment): PromptToken[] {
  try {
    return encodeSegments(tokenizer, [segment]);
  } catch (error) {
    if (!(error instanceof OryxError) || error.code !== "prompt_invalid") throw error;
    throw new OryxError("sample_invalid", error.message, error.remedy, { cause: error });
  }
}

/** Every visual is shown once, in order: a placeholder too many or too few means that record and media disagree. */
function checkVisuals(prompt: readonly PromptToken[], visuals: number): void {
  const shown = prompt.filter((token) => typeof token === "object").map(({ visual }) => visual);
  if (shown.length === visuals && shown.every((visual, i) => visual === i)) return;
  const isCountRight = shown.length === visuals;
  const problem = isCountRight
    ? `its text shows its images or videos in the order ${shown.slice(0, 8)}`
    : `its text has ${shown.length} places for images or videos, and it has ${visuals} of them`;
  throw invalid(problem, "write <image> once for each, in order");
}

function invalid(problem: string, remedy: string): OryxError {
  return new OryxError("sample_invalid", problem, remedy);
}

// ------------------------------------------------------------------------------------------------ messages

/**
 * Turns of a record as messages. A lone `<image>` is moved to the front of its turn with a newline behind it, as the
 * released preprocessing does; several stay where they are.
 * @throws OryxError `sample_invalid` when the first turn (behind a system turn) is not a human's
 */
export function recordMessages(turns: readonly RecordTurn[]): Message[] {
  const first = turns.find((turn) => turn.from !== "system");
  if (first?.from !== "human") {
    throw invalid("its conversation does not begin with a question", "begin it with a turn from human");
  }
  let visuals = 0;
  return turns.map(({ from, value }) => {
    if (from !== "human") return { role: ROLES[from], content: [{ text: value }] };
    const message = recordMessage("user", leading(value), visuals);
    visuals += message.content.filter((part) => "visual" in part).length;
    return message;
  });
}

const ROLES = { system: "system", gpt: "assistant" } as const;
const PLACEHOLDER = "<image>";

function leading(value: string): string {
  const texts = value.split(PLACEHOLDER);
  return texts.length === 2 ? `${PLACEHOLDER}\n${texts.join("").trim()}` : value;
}

/** A question about all visuals, as the engine asks it. The question is text, whatever it says. */
export function questionMessage(
  visuals: readonly Pick<ExampleVisual, "shape" | "count">[],
  question: string,
): Message {
  const shown = visuals.map(({ shape, count }) => ({ modality: shape.modality, pictures: count }));
  return visualQuestion(shown, question);
}

/** An answer to learn. */
export function answerMessage(answer: string): Message {
  return { role: "assistant", content: [{ text: answer }] };
}
