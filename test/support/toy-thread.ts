import { serveExamples } from "../../src/data/serve.ts";
import { openToy } from "./toy-data.ts";

await serveExamples(openToy);
