import { describe, expect, it } from "vitest";
import { selectNames } from "./selection.ts";

const NAMES = [
  "model.vision_tower.vision_tower.blocks.0.attn.qkv.weight",
  "model.vision_resampler.vlm_query_projector.weight",
  "model.mm_projector.image_newline",
  "model.layers.0.mlp.up_proj.weight",
  "model.layers.1.mlp.up_proj.weight",
  "model.layers.1.self_attn.q_proj.bias",
  "lm_head.weight",
];
const chosen = (...patterns: string[]) => [...selectNames(NAMES, patterns)];

describe("what is trained", () => {
  it("is named by part", () => {
    expect(chosen("tower")).toEqual(NAMES.slice(0, 1));
    expect(chosen("connector")).toEqual(NAMES.slice(1, 3));
    expect(chosen("language", "connector").sort()).toEqual(NAMES.slice(1).sort());
  });

  it("is named by name, with * for anything", () => {
    expect(chosen("lm_head.weight")).toEqual(["lm_head.weight"]);
    expect(chosen("model.layers.*.mlp.*")).toEqual(NAMES.slice(3, 5));
    expect(chosen("*.bias")).toEqual([NAMES[5]]);
    expect(chosen("*")).toEqual(NAMES);
  });

  it("is refused when a pattern names nothing", () => {
    for (const pattern of [
      "languages",
      "model.layers.2.*",
      "",
      "*.bias*x",
      "lm_head.weight*lm_head.weight",
    ]) {
      expect(() => chosen(pattern)).toThrow(/no parameter matches/);
    }
  });
});
