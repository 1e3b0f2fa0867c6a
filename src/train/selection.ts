import { OryxError, quote } from "../core/errors.ts";
import { isConnector } from "../weights/expected.ts";
import { TOWER } from "../weights/tower.ts";
import { PARTS, type Part } from "./arena.ts";

/** To which link of the chain a parameter belongs, by its full name. */
export function partOf(name: string): Part {
  if (name.startsWith(`${TOWER}.`)) return "tower";
  return isConnector(name) ? "connector" : "language";
}

/**
 * The names that patterns choose. A pattern is a part ("tower", "connector", "language"), or a name in which `*`
 * stands for anything ("model.layers.*.mlp.*").
 * @throws OryxError `bad_option` when a pattern chooses nothing
 */
export function selectNames(names: Iterable<string>, patterns: readonly string[]): Set<string> {
  const all = [...names];
  const selected = new Set<string>();
  for (const pattern of patterns) {
    const found = all.filter(matcher(pattern));
    if (found.length === 0) {
      const remedy = `name a part (${PARTS.join(", ")}), or a parameter with * for anything`;
      throw new OryxError("bad_option", `no parameter matches ${quote(pattern)}`, remedy);
    }
    for (const name of found) selected.add(name);
  }
  return selected;
}

function matcher(pattern: string): (name: string) => boolean {
  const part = PARTS.find((p) => p === pattern);
  if (part !== undefined) return (name) => partOf(name) === part;
  // Without a regular expression, which a long pattern of stars could keep busy for ever.
  const [head = "", ...pieces] = pattern.split("*");
  const tail = pieces.pop();
  return (name) => {
    if (tail === undefined) return name === head;
    if (!name.startsWith(head) || !name.endsWith(tail)) return false;
    let at = head.length;
    for (const piece of pieces) {
      const found = name.indexOf(piece, at);
      if (found < 0) return false;
      at = found + piece.length;
    }
    return at <= name.length - tail.length;
  };
}
