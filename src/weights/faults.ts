import { OryxError } from "../core/errors.ts";

/** A name from a file as it may stand in a message: quoted, control characters escaped, at most 100 characters. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 97)}...` : name);
}

/** The error for a weight file that is damaged or lies about itself. */
export function malformed(file: string, problem: string, cause?: unknown): OryxError {
  const remedy = "download the file again; if it is your own, write it again";
  return new OryxError("weights_malformed", `${file}: ${problem}`, remedy, { cause });
}

/** The error for a weight file that may be sound but that this version does not read. */
export function unsupported(file: string, problem: string, remedy: string): OryxError {
  return new OryxError("weights_unsupported", `${file}: ${problem}`, remedy);
}
