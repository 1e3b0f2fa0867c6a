import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

/**
 * This package's version and those of what it stands on, all of them pinned: between two releases the same input may
 * give other bits, be it in a kernel, in a decoder of films or in how pictures are prepared.
 */
export function versions(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  const { version, dependencies } = JSON.parse(text) as { version: string; dependencies: object };
  return JSON.stringify([version, dependencies]);
}

/** The {@link versions} in short, for what is kept to say with which of them it was made. */
export const softwareHash = (): string => createHash("sha256").update(versions()).digest("hex").slice(0, 12);
