import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type OpenModel, openModel } from "../node/open.ts";
import { Oryx } from "../node/oryx.ts";
import { logLikelihood, logProbability } from "./likelihood.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";

/** The textbook: every share of the softmax, in the order of the vocabulary. */
function softmax(logits: Float32Array): number[] {
  const powers = Array.from(logits, (logit) => Math.exp(logit));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

describe("logProbability", () => {
  it("is the logarithm of the softmax", () => {
    const logits = Float32Array.of(1, -2, 0.5, 3);
    const shares = softmax(logits);
    for (const [id, share] of shares.entries())
      expect(logProbability(logits, id)).toBeCloseTo(Math.log(share), 12);
  });

  it("holds for logits whose exponentials no number could hold", () => {
    expect(logProbability(Float32Array.of(5000, 5000), 0)).toBeCloseTo(-Math.log(2), 12);
    expect(logProbability(Float32Array.of(0, 5000), 0)).toBe(-5000);
  });
});

describe.each(["oryx-qwen-tiny", "oryx-llama-tiny"])("the log-likelihood of tokens in %s", (name) => {
  let model: OpenModel;
  beforeAll(async () => {
    model = await openModel(`test/fixtures/${name}`);
  });
  afterAll(() => model.close());

  it.each([1, 2, 5, 33, 70])("is what one step after the other gives, for %i tokens", async (count) => {
    const { decoder } = model;
    const prompt = [5, 9, 14, 2, 77, 31];
    const ids = Array.from({ length: count }, (_, i) => (i * 37 + 11) % decoder.config.vocabSize);

    const stepped = decoder.slot(128);
    let logits = await decoder.prefill(stepped, [{ ids: prompt }]);
    let [expected, likeliest] = [0, 0];
    for (const id of ids) {
      const shares = softmax(logits);
      expected += Math.log(shares[id] as number);
      if (shares.every((share) => share <= (shares[id] as number))) likeliest++;
      logits = await decoder.next(stepped, id);
    }

    const slot = decoder.slot(128);
    const first = await decoder.prefill(slot, [{ ids: prompt }]);
    for (let again = 0; again < 2; again++) {
      const scored = await logLikelihood(decoder, slot, first, ids);
      expect(scored.logProbability).toBeCloseTo(expected, 3);
      expect(scored).toMatchObject({ tokens: count, likeliest });
      expect(slot.length).toBe(prompt.length);
    }
  });
});

describe("likelihoods of a request", () => {
  let oryx: Oryx;
  beforeAll(async () => {
    oryx = await Oryx.load(GOLDEN, { contextTokens: 512, conversations: 1 });
  });
  afterAll(() => oryx.close());

  const media = [{ frames: ["f0", "f1"].map((f) => `${GOLDEN}/media/${f}.png`) }];
  const request = { media, question: "Which one? A. red B. blue" };

  it("are highest for what the model says by itself", async () => {
    const { text } = await oryx.ask({ ...request, maxTokens: 1 }).answer();
    const { likelihoods, plan, frameTimesS, timings } = await oryx.likelihoods(request, ["A", "B", text]);
    expect(likelihoods.map((l) => l.text)).toEqual(["A", "B", text]);
    const [a = 0, b = 0, own = 0] = likelihoods.map((l) => l.logProbability);
    expect(likelihoods[2]?.tokens).toBe(1); // else the comparison below would not be fair
    expect(own).toBeGreaterThan(Math.max(a, b));
    expect(own).toBeLessThan(0);
    expect(likelihoods.map((l) => l.likeliest)).toEqual([0, 0, 1]);
    expect(frameTimesS).toEqual([[0, 1]]);
    expect(plan.promptTokens).toBeGreaterThan(plan.visualTokens);
    expect(timings.prefillMs).toBeGreaterThan(0);
  });

  it("do not depend on the texts scored beside them, and leave a conversation as it was", async () => {
    const [alone] = (await oryx.likelihoods(request, ["B"])).likelihoods;
    const beside = (await oryx.likelihoods(request, ["a long one before it", "B"])).likelihoods[1];
    expect(beside?.logProbability).toBeCloseTo(alone?.logProbability ?? 0, 5);
    using chat = oryx.chat();
    const first = await chat.ask({ ...request, maxTokens: 3 }).answer();
    const { tokens } = chat;
    const scored = await chat.likelihoods({ question: "And now?" }, ["A", "B"]);
    expect(scored.plan.cachedTokens).toBe(first.plan.promptTokens + first.tokens);
    expect(chat.tokens).toBe(tokens);
    const again = await chat.likelihoods({ question: "And now?" }, ["A", "B"]);
    expect(again.likelihoods).toEqual(scored.likelihoods);
  });

  it("are refused without texts, when nothing fits, when aborted, and while an answer comes", async () => {
    await expect(oryx.likelihoods(request, [])).rejects.toMatchObject({ code: "bad_option" });
    await expect(oryx.likelihoods(request, ["A", ""])).rejects.toMatchObject({ code: "bad_option" });
    const long = oryx.likelihoods(request, ["so long ".repeat(600)]);
    await expect(long).rejects.toMatchObject({ code: "context_exceeded" });
    const signal = AbortSignal.abort();
    await expect(oryx.likelihoods({ ...request, signal }, ["A"])).rejects.toMatchObject({ code: "aborted" });
    using chat = oryx.chat();
    const stream = chat.ask({ question: "Hello?", maxTokens: 8 });
    await stream[Symbol.asyncIterator]().next();
    await expect(chat.likelihoods({ question: "?" }, ["A"])).rejects.toMatchObject({ code: "busy" });
  });

  it("are left when the conversation is closed meanwhile", async () => {
    const chat = oryx.chat();
    const scored = chat.likelihoods(request, ["A", "B"]);
    setTimeout(() => chat.close(), 5);
    await expect(scored).rejects.toMatchObject({ code: "closed" });
    expect((await oryx.likelihoods(request, ["A"])).likelihoods).toHaveLength(1);
  });
});
