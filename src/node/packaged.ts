import { fileURLToPath } from "node:url";

/** The model that comes with the package, and is meant where none is named. */
export const PACKAGED_MODEL = {
  name: "oryx-tiny",
  folder: fileURLToPath(new URL("../../models/oryx-tiny", import.meta.url)),
} as const;
