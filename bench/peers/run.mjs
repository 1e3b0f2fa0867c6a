import { parseArgs } from "node:util";
import { Duel } from "./duel.mjs";

const HELP = `node bench/peers/run.mjs [options]
  --shapes LIST      language models (default qwen2.5-0.5b,qwen2.5-1.5b; none: "")
  --contexts LIST    tokens that are prefilled, and then decoded behind (default 128,512,8192)
  --weights TYPE     how ours are stored (default auto)
  --block N          4-bit weights of ours that share a scale: 32, 64, 128 (default 32)
  --rounds N         of prompts up to 1024 tokens, of decoding, and of frames (default 3)
  --long-rounds N    of each 1024 tokens of longer prompts (default 1)
  --steps N          decode steps of a round (default 48)
  --skip-vision      leave OryxViT out
  --threads N        of each contestant (default 2)
  --json             figures for programs`;

const { values } = parseArgs({
  options: {
    shapes: { type: "string", default: "qwen2.5-0.5b,qwen2.5-1.5b" },
    contexts: { type: "string", default: "128,512,8192" },
    weights: { type: "string", default: "auto" },
    block: { type: "string" },
    rounds: { type: "string", default: "3" },
    "long-rounds": { type: "string", default: "1" },
    steps: { type: "string", default: "48" },
    "skip-vision": { type: "boolean", default: false },
    threads: { type: "string", default: "2" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

/** Tokens of a turn: a long prompt is fed in pieces, so that a disturbance strikes both sides alike. */
const TURN = 1024;
/** Side of a frame, pixels: 784 patches. */
const SIDE = 448;

const list = (text) => text.split(",").filter((part) => part !== "");
const threads = Number(values.threads);
const rounds = Number(values.rounds);
const longRounds = Number(values["long-rounds"]);
const steps = Number(values.steps);
const block = values.block === undefined ? undefined : Number(values.block);
const rows = [];

if (values.help) console.log(HELP);
else await main();

async function main() {
  for (const shape of list(values.shapes)) await language(shape, list(values.contexts).map(Number));
  if (!values["skip-vision"]) await vision();
  if (values.json) console.log(JSON.stringify(rows));
}

async function language(shape, contexts) {
  const duel = new Duel(["./oryx.mjs", "./llama.mjs"]);
  const room = Math.max(...contexts) + steps + 8;
  await duel.load("load", { shape, threads, weights: values.weights, block, context: room });
  await duel.load("prefill", { from: 0, count: 64 }); // warms up
  for (const count of contexts) {
    const total = { ms: [0, 0], best: [0, 0], clean: true };
    for (let from = 0; from < count; from += TURN) {
      const piece = { from, count: Math.min(TURN, count - from) };
      const result = await duel.measure("prefill", piece, count > TURN ? longRounds : rounds);
      for (const key of ["ms", "best"]) total[key] = total[key].map((sum, i) => sum + result[key][i]);
      total.clean &&= result.clean;
    }
    tell(`${shape} prefill ${count}`, "node-llama-cpp", total, count, duel);
    tell(
      `${shape} decode at ${count}`,
      "node-llama-cpp",
      await duel.measure("decode", { steps }, rounds),
      1,
      duel,
    );
  }
  await duel.end();
}

async function vision() {
  const duel = new Duel(["./oryx.mjs", "./onnxruntime.mjs"]);
  await duel.load("loadVision", { threads });
  const work = { side: SIDE, count: 1 };
  await duel.load("frames", work); // warms up
  const result = await duel.measure("frames", work, rounds);
  tell("oryxvit frame of 784 patches", "onnxruntime-node f32", result, 1, duel);
  await duel.end();
}

/** Prints what a piece of work took both. @param units tokens or frames of it */
function tell(what, peer, { ms, best, clean }, units, { peakRss }) {
  const [ours, theirs] = ms.map((t, i) => ({
    ms: t,
    perSecond: (1000 * units) / t,
    peakRssBytes: peakRss[i],
  }));
  const row = { what, ratio: ms[1] / ms[0], bestRatio: best[1] / best[0], ours, peer, theirs, clean };
  rows.push(row);
  if (!values.json) console.log(line(row));
}

function line({ what, ratio, bestRatio, ours, peer, theirs, clean }) {
  const speed = ({ perSecond, peakRssBytes }) =>
    `${perSecond.toPrecision(3)}/s (${(peakRssBytes / 1e9).toFixed(1)} GB)`;
  const note = clean ? "" : "   DISTURBED: others used the machine";
  return `${what.padEnd(32)} ${ratio.toFixed(2)}x (fastest turns ${bestRatio.toFixed(2)}x)   ours ${speed(ours)}   ${peer} ${speed(theirs)}${note}`;
}
