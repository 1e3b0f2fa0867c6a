import type { Runtime } from "../../src/runtime/session.ts";

/** A runtime that says of its device what one with a GPU says: that caches of keys and values stay in its memory. */
export const keepingCaches = (runtime: Runtime, residentTokens = Number.POSITIVE_INFINITY): Runtime => ({
  device: runtime.device,
  load: (model) => runtime.load(model),
  residentTokens: async () => residentTokens,
  close: () => runtime.close(),
});
