import { Transform } from "node:stream";
import { LIMITS } from "../core/limits.ts";

const NEWLINE = Buffer.from("\n");

/** Enough for more UTF-16 units than a prompt may have, of which none takes over three bytes in UTF-8. */
const MOST_BYTES = 3 * (LIMITS.promptChars + 1);

/**
 * Lets lines through, of longer ones only the beginning: a pipe may bring gigabytes without a newline. What is left
 * of such a line is still too long for a prompt, and refused as that.
 */
export function lineGuard(): Transform {
  let length = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const kept: Buffer[] = [];
      for (let at = 0; at < chunk.length; ) {
        const newline = chunk.indexOf(NEWLINE, at);
        const end = newline < 0 ? chunk.length : newline;
        kept.push(chunk.subarray(at, Math.min(end, at + Math.max(0, MOST_BYTES - length))));
        length += end - at;
        if (newline >= 0) {
          kept.push(NEWLINE);
          length = 0;
        }
        at = end + 1;
      }
      done(null, Buffer.concat(kept));
    },
  });
}
