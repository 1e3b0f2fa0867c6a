import { expect, it } from "vitest";
import { cleanMappings } from "./memory.ts";

const entry = (
  range: string,
  path: string,
  dirty = 0,
  anonymous = 0,
) => `${range} rw-p 00000000 fe:00 5334470    ${path}
Size:               1024 kB
Rss:                 512 kB
Private_Clean:       512 kB
Private_Dirty:         ${dirty} kB
Anonymous:             ${anonymous} kB
VmFlags: rd wr mr mw me ac
`;

it("only mappings of the named files are let go, and none that holds a page of its own", () => {
  const smaps = [
    entry("7febcefc7000-7febcefde000", "/models/a model.safetensors"),
    entry("7febcefe0000-7febceff0000", "/models/a model.safetensors", 4),
    entry("7febceff1000-7febceff2000", "/models/a model.safetensors", 0, 4),
    entry("7febd0000000-7febd0010000", "/models/other.safetensors"),
    entry("7febd1000000-7febd1010000", "[heap]"),
  ].join("");
  expect(cleanMappings(smaps, new Set(["/models/a model.safetensors"]))).toEqual([
    { start: 0x7febcefc7000n, end: 0x7febcefde000n },
  ]);
  expect(cleanMappings("", new Set(["/models/a model.safetensors"]))).toEqual([]);
});
