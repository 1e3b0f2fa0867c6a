/**
 * The import-direction rule: a layer imports only from the layers it stands on.
 * The table is the architecture; add a layer here before adding its folder.
 */
const stands = {
  core: [],
  files: ["core"],
  graph: ["core"],
  nn: ["core", "graph"],
  model: ["core", "graph", "nn"],
  onnx: ["core", "graph"],
  weights: ["core", "files", "graph", "nn", "model", "text"],
  text: ["core"],
  media: ["core"],
  runtime: ["core", "onnx"],
  net: ["core", "files"],
  engine: ["core", "graph", "nn", "model", "onnx", "text", "media", "runtime"],
  data: ["core", "model", "text", "media"],
  train: ["core", "graph", "nn", "model", "onnx", "text", "media", "weights", "runtime", "data", "files"],
  world: ["core", "text", "media", "model", "data"],
  convert: ["core", "files", "nn", "model", "weights"],
  node: ["core", "files", "model", "weights", "text", "media", "runtime", "net", "engine"],
  recipe: ["core", "model", "text", "media", "weights", "runtime", "data", "train", "world"],
  eval: ["core", "files", "model", "text", "media", "weights", "engine", "node", "world"],
  verify: ["core", "model", "weights", "text", "media", "runtime", "engine", "node", "data", "train"],
  bench: ["core", "nn", "model", "weights", "media", "runtime", "engine", "node"],
  cli: [
    "core",
    "files",
    "model",
    "weights",
    "text",
    "media",
    "runtime",
    "net",
    "engine",
    "convert",
    "node",
    "verify",
    "bench",
    "data",
    "train",
    "world",
    "recipe",
    "eval",
  ],
};

/** Layers that a browser loads: no node: built-ins outside a folder or file named "node". */
const portable = "^src/(core|graph|nn|model|onnx|text|engine)/";

module.exports = {
  forbidden: [
    ...Object.entries(stands).map(([layer, below]) => ({
      name: `${layer}-stands-on-${below.join("-") || "nothing"}`,
      severity: "error",
      from: { path: `^src/${layer}/`, pathNot: "\\.test\\.ts$" },
      to: { path: "^src/", pathNot: `^src/(${[layer, ...below].join("|")})/` },
    })),
    {
      name: "portable-layers-have-no-node-builtins",
      severity: "error",
      from: { path: portable, pathNot: "\\.test\\.ts$" },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "only-net-touches-the-network",
      severity: "error",
      from: { path: "^src/", pathNot: ["^src/net/", "\\.test\\.ts$"] },
      to: { path: "^(node:)?(http|https|net|tls|dgram)$" },
    },
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    { name: "resolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    enhancedResolveOptions: {
      extensions: [".ts", ".js"],
      exportsFields: ["exports"],
      conditionNames: ["import", "types", "node"],
    },
  },
};
