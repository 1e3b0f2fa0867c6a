/**
 * Every code an {@link OryxError} can carry, with its meaning. Codes are part of the public surface: programs
 * branch on them, so a code never changes its meaning and a new failure gets a new code.
 */
export const ERROR_CODES = {
  // Use
  bad_option: "an option has a value that makes no sense",
  aborted: "the caller's AbortSignal fired",
  closed: "the object was used after it was closed",
  busy: "as many conversations are open as the model may hold, or one is asked twice at a time",
  out_of_memory: "the machine cannot give the memory that was asked for",
  // Graph: mistakes in a model description, found while it is built
  graph_shape: "shapes do not fit an operation",
  graph_dtype: "element types do not fit an operation",
  // Runtime
  runtime_missing: "the ONNX Runtime library could not be loaded",
  runtime_failed: "ONNX Runtime reported an error",
  device_unavailable: "the requested device does not exist here",
  // Model folder
  model_missing: "there is no model at the given place",
  config_invalid: "config.json is malformed or asks for maths this version does not do",
  weights_malformed: "a weight file is damaged or lies in its header",
  weights_unsupported: "a weight file is sound but of a format or element type that is not read here",
  weights_missing: "tensors that the model needs are absent",
  weights_mismatch: "a tensor has another shape or type than the model needs",
  tokenizer_invalid: "the tokenizer is malformed or lacks special tokens",
  // Media
  media_missing: "there is no file at the given path",
  media_unreadable: "a file could not be read",
  media_empty: "a file has no bytes, or a video no frames",
  media_unsupported: "a file is of no kind that can be decoded",
  media_malformed: "a file is damaged or not what its name says",
  media_too_large: "a file, a picture or a film is over a limit",
  media_no_video: "a file has no video track",
  media_no_decoder: "no decoder for this codec is installed",
  // Training
  recipe_invalid: "a recipe is malformed or asks for something that does not exist",
  data_invalid: "a data set or a pack cannot be read",
  sample_invalid: "a training sample is broken, and skipped",
  sample_too_long: "a training sample has more tokens than the recipe allows, and is skipped",
  worker_failed: "a thread that prepares training samples ended before its work was done",
  snapshot_damaged: "a snapshot is not what was written",
  training_failed: "training went wrong: a loss or gradient is not a number",
  gradient_missing: "an operation has no gradient",
  // Request
  prompt_invalid: "a prompt is empty or refers to media that is not there",
  context_exceeded: "the request needs more tokens than the model's context holds",
  budget_exceeded: "the request cannot be answered with the tokens or seconds that it allows",
  // Evaluation
  questions_invalid: "a file of questions is malformed, or of no layout that is read",
  answers_invalid: "a log of answers is damaged, or was written with other settings",
  // Hub
  hub_invalid_id: "a hub id is not of the form ORG/NAME",
  hub_not_found: "the hub does not know this model, revision or file",
  hub_unreachable: "the hub could not be reached",
  hub_denied: "the hub wants a token, or the token may not read this model",
  hub_corrupt: "a download does not have the size or hash that the hub announced",
  disk: "a file could not be written",
  locked: "another process is at work on the same files",
  // Verification
  golden_invalid: "a reference folder is malformed, or asks for stages that this version does not compute",
  verify_failed: "a model does not compute what its reference says",
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/**
 * An error that a user can act on: `code` for programs, `message` says what was wrong, `remedy` what to do.
 * Anything else that is thrown is a bug of ours.
 */
export class OryxError extends Error {
  override readonly name = "OryxError";
  readonly code: ErrorCode;
  readonly remedy: string;

  constructor(code: ErrorCode, problem: string, remedy: string, options?: { cause?: unknown }) {
    super(problem, options);
    this.code = code;
    this.remedy = remedy;
  }
}

/** An error in a form that crosses to another thread, where an object loses its class. */
export interface PlainError {
  /** Undefined for a bug of ours, of which `problem` is the stack. */
  code: ErrorCode | undefined;
  problem: string;
  remedy: string;
}

export function plainError(error: unknown): PlainError {
  if (error instanceof OryxError) return { code: error.code, problem: error.message, remedy: error.remedy };
  const problem = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: undefined, problem, remedy: "" };
}

/** Throws an `aborted` error when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new OryxError("aborted", "the request was aborted", "ask again", { cause: signal.reason });
  }
}

/** Whether an error says that the work was stopped on purpose. */
export const isAborted = (error: unknown): error is OryxError =>
  error instanceof OryxError && error.code === "aborted";

/** A name from outside as it may stand in a message: quoted, control characters escaped, at most 100 characters. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 97)}...` : name);
}
