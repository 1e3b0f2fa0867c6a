import { describe, expect, it } from "vitest";
import { idleSession, NARROW } from "../../test/support/idle-session.ts";
import { measureSpeed } from "./calibrate.ts";
import { Decoder } from "./decoder.ts";
import { VisionEncoder } from "./encoder.ts";
import { HostKvMemory } from "./kv.ts";

/** Pictures and steps by which the runs of other requests are known: the measure has none so small. */
const OTHER_PIXELS = 16;

/** A model that computes nothing, and notes whose runs it computes. */
function notingModel(runs: ("other's" | "measured")[]) {
  const session = idleSession(({ pixels, order }) => {
    const isOther = pixels ? pixels.shape[1] === OTHER_PIXELS : order?.shape[0] === 1;
    runs.push(isOther ? "other's" : "measured");
  });
  const sessions = { prefill: { session, form: "rows" }, decode: { session, form: "rows" } } as const;
  const decoder = new Decoder(sessions, NARROW, new HostKvMemory(NARROW, "f32"));
  return { decoder, encoder: new VisionEncoder(session, NARROW.hiddenSize) };
}

describe("a model's speed", () => {
  it("is measured while nothing else of the model is computed", async () => {
    const runs: ("other's" | "measured")[] = [];
    const { decoder, encoder } = notingModel(runs);
    const picture = {
      width: OTHER_PIXELS,
      height: OTHER_PIXELS,
      data: new Uint8Array(3 * OTHER_PIXELS ** 2),
    };
    let isMeasured = false;
    const generate = () =>
      decoder.withSlot(2, async (slot) => {
        while (!isMeasured) {
          await decoder.next(slot, 0);
          slot.truncate(0);
        }
      });
    const encode = async () => {
      while (!isMeasured) await encoder.rows([picture], 1);
    };
    const others = [generate(), generate(), encode(), encode()];
    const speed = await measureSpeed({ decoder, encoder });
    isMeasured = true;
    await Promise.all(others);
    const [first, last] = [runs.indexOf("measured"), runs.lastIndexOf("measured")];
    expect(new Set(runs.slice(first, last + 1))).toEqual(new Set(["measured"]));
    expect(first).toBeGreaterThan(0);
    expect(runs.length).toBeGreaterThan(last + 1);
    expect(speed.encode.perPatch).toBeGreaterThan(0);
  });

  it("leaves the model to others when measuring is aborted", async () => {
    const { decoder, encoder } = notingModel([]);
    const stop = new AbortController();
    const measuring = measureSpeed({ decoder, encoder }, stop.signal);
    stop.abort();
    await expect(measuring).rejects.toMatchObject({ code: "aborted" });
    await decoder.withSlot(1, (slot) => decoder.next(slot, 0));
    await encoder.rows([{ width: 16, height: 16, data: new Uint8Array(3 * 16 ** 2) }], 1);
  });
});
