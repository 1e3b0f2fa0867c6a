import { createHash } from "node:crypto";

/** Lines of files that grow while work goes on: JSON, a blank and a hash, by which a damaged line is known. */

/** A line that says a value, without its newline. */
export function sealed(value: object): string {
  const json = JSON.stringify(value);
  return `${json} ${sealOf(json)}`;
}

/** What a line says; undefined when it is not as it was written. */
export function unsealed(line: string): unknown {
  const at = line.lastIndexOf(" ");
  const json = line.slice(0, Math.max(0, at));
  if (line.slice(at + 1) !== sealOf(json)) return undefined;
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

const sealOf = (json: string): string => createHash("sha256").update(json).digest("hex").slice(0, 16);
