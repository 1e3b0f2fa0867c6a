/**
 * Puts a trained model into models/oryx-tiny, as it comes with the package: bf16, with its licence and a card.
 *
 * Run `npm run build && node recipes/oryx-tiny/publish.mjs FOLDER`, where FOLDER is the model that `oryx train` wrote.
 */
import { copyFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { exportModel } from "../../dist/train/export.js";
import { openCheckpoint } from "../../dist/weights/checkpoint.js";
import { loadFloat32 } from "../../dist/weights/files.js";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const [from, to = at("../../models/oryx-tiny")] = process.argv.slice(2);
if (from === undefined) throw new Error("name the folder of a trained model");

const { language, vision } = await openCheckpoint(from);
const stored = [
  ...language,
  ...[...vision].map(([name, tensor]) => [`model.vision_tower.vision_tower.${name}`, tensor]),
];
const tensors = [];
for (const [name, tensor] of stored) {
  tensors.push([name, { shape: tensor.shape, data: await loadFloat32(tensor) }]);
}
const parameters = tensors.reduce((sum, [, { data }]) => sum + data.length, 0);

// An export takes the place of another only if that is as it was written.
for (const ours of ["LICENSE", "README.md"]) await rm(join(to, ours), { force: true });
await exportModel(to, tensors, { configPath: join(from, "config.json"), tokenizerDir: from });
await copyFile(at("../../LICENSE"), join(to, "LICENSE"));
await writeFile(
  join(to, "README.md"),
  `# oryx-tiny

Oryx in small: ${(parameters / 1e6).toFixed(1)} million parameters, trained from nothing by \`recipes/oryx-tiny\` on pictures and films of a
miniature world that the package draws itself. It answers questions about that world, and knows nothing of any other.
How it was made, how often it is right and what it cannot do: [docs/oryx-tiny.md](../../docs/oryx-tiny.md).

Licence: Apache-2.0, as the code. It was trained on nothing but what the package draws.
`,
);
console.log(`${to}: ${tensors.length} tensors, ${parameters} parameters`);
