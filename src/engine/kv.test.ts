import { describe, expect, it } from "vitest";
import type { TensorData } from "../core/tensor.ts";
import { Positions } from "./kv.ts";

describe("the positions of a cache that is bound whole", () => {
  it("are all up to the step's last, and those of one step serve the next", () => {
    const positions = new Positions();
    const of = (total: number) => positions.of(total) as Extract<TensorData, { dtype: "i64" }>;
    const first = of(300);
    expect(first.shape).toEqual([300]);
    expect(Array.from(first.data, Number)).toEqual(Array.from({ length: 300 }, (_, i) => i));
    const [longer, again] = [of(301), of(302)];
    expect(Array.from(again.data, Number)).toEqual(Array.from({ length: 302 }, (_, i) => i));
    expect(again.data.buffer).toBe(longer.data.buffer);
    expect(of(5).data.buffer).toBe(longer.data.buffer);
  });
});
