import { OryxError } from "../core/errors.ts";

/** A model on the hub. */
export interface ModelId {
  org: string;
  name: string;
  /** A branch, tag or commit. */
  revision: string;
}

const NAME = /^(?!.*(--|\.\.))[A-Za-z0-9_]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?$/;
const REVISION = /^[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$/;

/** Reads ORG/NAME or ORG/NAME@REVISION; undefined when the text is neither. @param elseRevision where it names none */
export function parseModelId(text: string, elseRevision = "main"): ModelId | undefined {
  const [path = "", revision = elseRevision, ...more] = text.split("@");
  const [org = "", name = "", ...deeper] = path.split("/");
  const isSafeRevision = revision.length <= 200 && REVISION.test(revision) && !revision.includes("..");
  if (more.length > 0 || deeper.length > 0 || !NAME.test(org) || !NAME.test(name) || !isSafeRevision)
    return undefined;
  return { org, name, revision };
}

/** @param asked a revision that was asked for apart. @throws OryxError `hub_invalid_id`, also when they differ */
export function requireModelId(text: string, asked?: string): ModelId {
  const id = parseModelId(text, asked);
  if (!id) {
    throw new OryxError(
      "hub_invalid_id",
      `${JSON.stringify(text)} is no hub id`,
      "write ORG/NAME or ORG/NAME@REVISION",
    );
  }
  if (asked !== undefined && id.revision !== asked) {
    const problem = `${JSON.stringify(text)} names another revision than ${JSON.stringify(asked)}`;
    throw new OryxError("hub_invalid_id", problem, "give one of the two");
  }
  return id;
}
