import { serveExamples } from "../data/serve.ts";
import { openStageData } from "./data.ts";

/** The program of a thread that prepares a stage's examples. */
await serveExamples(openStageData);
