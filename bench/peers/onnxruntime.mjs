import { writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import * as ort from "onnxruntime-node";
import { ORYX_VIT } from "../../dist/bench/shapes.js";
import { expectedTower, squareFrame } from "../../dist/bench/vision.js";
import { RandomWeights } from "../../dist/bench/weights.js";
import { storedParams } from "../../dist/engine/load.js";
import { visionGraph } from "../../dist/model/oryx.js";
import { emitOnnx } from "../../dist/onnx/emit.js";
import { ModelProtoSchema } from "../../dist/onnx/onnx_pb.js";
import { placeWeights } from "../../dist/runtime/node/weights.js";
import { contest, timed } from "./contestant.mjs";

/** OryxViT in f32 through onnxruntime-node's own API. */
let session;

contest({
  async loadVision({ threads }) {
    const random = await RandomWeights.create(expectedTower(), "f32");
    try {
      const path = writeModel(random.tensors);
      session = await ort.InferenceSession.create(path, { intraOpNumThreads: threads });
    } finally {
      random.remove();
    }
  },
  async frames({ side, count }) {
    const pixels = new Uint8Array(count * side * side * 3);
    for (let i = 0; i < count; i++) pixels.set(squareFrame(side, i).data, i * side * side * 3);
    const feeds = {
      pixels: new ort.Tensor("uint8", pixels, [count, side, side, 3]),
      k: new ort.Tensor("int64", BigInt64Array.of(2n), []),
    };
    return (await timed(() => session.run(feeds, ["rows"]))) / count;
  },
});

/** Writes the graph beside its weights. */
function writeModel(tensors) {
  const [{ bytes }] = tensors.values();
  const params = storedParams(tensors);
  const emitted = emitOnnx(visionGraph(params, params.at("model"), ORYX_VIT));
  const model = fromBinary(ModelProtoSchema, placeWeights(emitted).onnx);
  for (const { externalData } of model.graph.initializer) {
    for (const entry of externalData) if (entry.key === "location") entry.value = basename(bytes.path);
  }
  const path = join(dirname(bytes.path), "model.onnx");
  writeFileSync(path, toBinary(ModelProtoSchema, model));
  return path;
}
