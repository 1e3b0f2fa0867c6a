/**
 * Draws the examples with the miniature world, and writes questions about them with their right answers:
 * questions.json. The seeds are those of evaluation, which no recipe draws from.
 *
 * Run `npm run build && node examples/make.mjs`; needs ffmpeg with libvpx. The files are checked in.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { worldSample } from "../dist/world/world.js";

const EXAMPLES = [
  { file: "picture.png", seed: 109, kinds: { describe: 2, colour: 1, count: 1, position: 1, read: 1 } },
  { file: "steps.webm", seed: 201, kinds: { steps: 1 } },
  { file: "motion.webm", seed: 302, kinds: { motion: 1, summary: 1 } },
];

const at = (name) => fileURLToPath(new URL(name, import.meta.url));
const questions = [];
for (const { file, kinds, seed } of EXAMPLES) {
  const { media, turns } = await worldSample(seed, { split: "train", kinds });
  await (media.modality === "image" ? writePicture(media, at(file)) : writeFilm(media, at(file)));
  questions.push(...turns.map(({ question, answer }) => ({ media: file, question, answer })));
}
await writeFile(at("questions.json"), `${JSON.stringify(questions, null, 2)}\n`);

async function writePicture({ pictures: [{ width, height, data }] }, path) {
  await sharp(data, { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 9 })
    .toFile(path);
}

/** A frame a second, as Oryx looks at films. */
async function writeFilm({ pictures }, path) {
  const [{ width, height }] = pictures;
  const args = `-v error -y -f rawvideo -pix_fmt rgb24 -s ${width}x${height} -r 1 -i pipe:0 -c:v libvpx-vp9 -crf 12 -b:v 0
    -pix_fmt yuv420p -vf scale=out_color_matrix=bt709 -colorspace bt709 -color_primaries bt709 -color_trc bt709
    -fflags +bitexact -flags:v +bitexact`;
  const ffmpeg = spawn("ffmpeg", [...args.split(/\s+/), path], { stdio: ["pipe", "inherit", "inherit"] });
  for (const { data } of pictures) ffmpeg.stdin.write(data);
  ffmpeg.stdin.end();
  const [code] = await once(ffmpeg, "close");
  if (code !== 0) throw new Error(`ffmpeg ended with ${code}`);
}
