import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Size } from "../core/size.ts";

/**
 * Checks what {@link Video.frames} was asked for.
 * @throws OryxError `bad_option`: times that are not numbers or descend, more frames than
 *   `LIMITS.framesPerVideo`, a size that no frame can have
 */
export function checkFrames(timesS: readonly number[], size: Size | undefined): void {
  if (timesS.length > LIMITS.framesPerVideo) {
    throw new OryxError(
      "bad_option",
      `${timesS.length} frames were asked for; ${LIMITS.framesPerVideo} are allowed`,
      "ask for fewer",
    );
  }
  for (const [i, timeS] of timesS.entries()) {
    if (!Number.isFinite(timeS) || timeS < (timesS[i - 1] ?? timeS)) {
      throw new OryxError("bad_option", `time ${i} is ${timeS}`, "give ascending times in seconds");
    }
  }
  if (
    size &&
    !(isSide(size.width) && isSide(size.height) && size.width * size.height <= LIMITS.imagePixels)
  ) {
    throw new OryxError(
      "bad_option",
      `frames of ${size.width} x ${size.height} pixels were asked for`,
      `give whole sides from 1 to ${LIMITS.imageSide}`,
    );
  }
}

function isSide(side: number): boolean {
  return Number.isInteger(side) && side >= 1 && side <= LIMITS.imageSide;
}
