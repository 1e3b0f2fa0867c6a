import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { trainTable, verifyTraining } from "./train.ts";

const GOLDEN = "test/fixtures/oryx-qwen-tiny";

/** Does `use` with a copy of the reference after `change` to its train_cases.json. */
async function changed(
  // biome-ignore lint/suspicious/noExplicitAny: a JSON file as it is
  change: (json: any) => void,
  use: (dir: string) => Promise<void>,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "oryx-verify-train-"));
  try {
    await cp(GOLDEN, dir, { recursive: true });
    const path = join(dir, "train_cases.json");
    const json = JSON.parse(await readFile(path, "utf8"));
    change(json);
    await writeFile(path, JSON.stringify(json));
    await use(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

describe("training against the reference", () => {
  it("has its tokens, labels, losses and gradients in every setting", async () => {
    const report = await verifyTraining(GOLDEN, { threads: 1 });
    expect(report.checks.filter((c) => !c.passed)).toEqual([]);
    // Ids and labels of two samples; label count, 5 losses and 5 norms of 3 settings; 12 + 39 + 39 tensors.
    expect(report.checks).toHaveLength(4 + 3 * 11 + 90);
    expect(trainTable(report)).toMatch(/\n127 checks passed$/);
    const losses = report.checks.filter((c) => c.name === "loss").map((c) => c.error);
    expect(Math.max(...losses)).toBeLessThan(1e-5);
  });

  it("notices a wrong label, loss, norm and gradient", async () => {
    await changed(
      (json) => {
        json.samples[0].labels[0] = -100;
        const { align } = json.stages;
        align.losses[4] *= 1.0002;
        align.grad_norms[1] *= 1.002;
        align.first_step_grad_norm_by_tensor["model.mm_projector.image_sep"] *= 0.998;
      },
      async (dir) => {
        const report = await verifyTraining(dir, { only: "align", threads: 1 });
        const failed = report.checks.filter((c) => !c.passed).map((c) => `${c.name} ${c.step ?? ""}`.trim());
        expect(failed).toEqual(["labels", "model.mm_projector.image_sep", "grad_norm 1", "loss 4"]);
        expect(trainTable(report)).toMatch(/\n4 of \d+ checks failed$/);
      },
    );
  });

  it.each<[string, (json: never) => void, RegExp]>([
    ["is absent", (json: { stages?: unknown }) => delete json.stages, /stages/],
    [
      "names a file elsewhere",
      (json: { samples: { media: string[] }[] }) => json.samples[0]?.media.push("../../../etc/passwd"),
      /media/,
    ],
    [
      "has another schedule",
      (json: { stages: { sft: { schedule: string } } }) => {
        json.stages.sft.schedule = "cosine";
      },
      /schedule/,
    ],
  ])("says what is wrong when something %s", async (_, change, message) => {
    await changed(change as (json: unknown) => void, async (dir) => {
      const error = await verifyTraining(dir).catch((e) => e);
      expect(error).toMatchObject({ code: "golden_invalid" });
      expect(error.message).toMatch(message);
    });
  });

  it("knows its settings", async () => {
    const none = verifyTraining(GOLDEN, { only: "warm" });
    await expect(none).rejects.toMatchObject({
      code: "bad_option",
      remedy: expect.stringContaining("sft_hot"),
    });
  });
});
