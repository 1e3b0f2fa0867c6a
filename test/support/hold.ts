import type { Line } from "../../src/core/turns.ts";

/** Takes a turn in a line, and keeps it until what is returned is called. */
export function hold(line: Line): () => void {
  let free = () => {};
  const held = new Promise<void>((resolve) => {
    free = resolve;
  });
  void line.take(() => held);
  return free;
}
