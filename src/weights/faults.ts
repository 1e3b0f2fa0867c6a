import { OryxError } from "../core/errors.ts";

/** The error for a weight file that is damaged or lies about itself. */
export function malformed(file: string, problem: string, cause?: unknown): OryxError {
  const remedy = "download the file again; if it is your own, write it again";
  return new OryxError("weights_malformed", `${file}: ${problem}`, remedy, { cause });
}

/** The error for a weight file that may be sound but that this version does not read. */
export function unsupported(file: string, problem: string, remedy: string): OryxError {
  return new OryxError("weights_unsupported", `${file}: ${problem}`, remedy);
}
