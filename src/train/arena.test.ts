import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Arena, BLOCK, Layout, PARTS } from "./arena.ts";

const parameters = fc
  .array(
    fc.record({
      part: fc.constantFrom(...PARTS),
      shape: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 }),
    }),
    { minLength: 1, maxLength: 40 },
  )
  .map((list) => list.map((p, i) => ({ ...p, name: `p${i}` })));

describe("a layout", () => {
  it("gives every parameter a place of its own, 64 bytes aligned, in a whole number of blocks", () => {
    fc.assert(
      fc.property(parameters, (list) => {
        const layout = new Layout(list);
        let end = 0;
        for (const slot of layout.slots.values()) {
          expect(slot.offset % 16).toBe(0);
          expect(slot.offset).toBeGreaterThanOrEqual(end);
          end = slot.offset + slot.size;
        }
        expect(layout.slots.size).toBe(list.length);
        expect(layout.length % BLOCK).toBe(0);
        expect(layout.length).toBeGreaterThanOrEqual(end);
        expect(layout.length - end).toBeLessThan(BLOCK);
      }),
    );
  });

  it("keeps each part together, and in it what decays apart from what does not", () => {
    fc.assert(
      fc.property(parameters, (list) => {
        const layout = new Layout(list);
        for (const { name, part, shape } of list) {
          const slot = layout.slots.get(name);
          const within = ({ start, end }: { start: number; end: number }) =>
            start <= (slot?.offset ?? -1) && (slot?.offset ?? 0) + (slot?.size ?? 0) <= end;
          expect(within(layout.stretch(part))).toBe(true);
          const [stretch, ...others] = layout.stretches().filter(within);
          expect([stretch?.decays, others.length]).toEqual([shape.length > 1, 0]);
          for (const other of PARTS) if (other !== part) expect(within(layout.stretch(other))).toBe(false);
        }
      }),
    );
  });
});

describe("an arena", () => {
  it("shows each parameter where it lies, also in memory that threads share", () => {
    const layout = new Layout([
      { name: "a", part: "language", shape: [2, 3] },
      { name: "b", part: "connector", shape: [5] },
    ]);
    const memory = new Float32Array(new SharedArrayBuffer(4 * layout.length));
    const arena = new Arena(layout, memory);
    arena.tensor("a").data.fill(7);
    expect(arena.tensor("a").shape).toEqual([2, 3]);
    expect([...memory].filter((x) => x === 7)).toHaveLength(6);
    expect([...arena.tensor("b").data]).toEqual([0, 0, 0, 0, 0]);
    expect([arena.has("a"), arena.has("c")]).toEqual([true, false]);
  });
});
