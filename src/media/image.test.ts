import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32, deflateSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { OryxError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { decodeImage, probeImage } from "./image.ts";
import type { MediaSource } from "./media.ts";

const fixtures = fileURLToPath(new URL("../../test/fixtures/images/", import.meta.url));
const fixture = (name: string) => join(fixtures, name);
const bytesOf = (name: string) => new Uint8Array(readFileSync(fixture(name)));
const scratch = mkdtempSync(join(tmpdir(), "oryx-image-"));
afterAll(() => rmSync(scratch, { recursive: true }));

function scratchFile(name: string, bytes: Uint8Array | string): string {
  const path = join(scratch, name);
  writeFileSync(path, bytes);
  return path;
}

interface Golden {
  file: string;
  width: number;
  height: number;
  sha256: string;
}
const goldens: Golden[] = JSON.parse(readFileSync(fixture("expected.json"), "utf8"));

/** A PNG of the given header; `rows` is unpacked data, each row behind a filter byte. */
function png(width: number, height: number, bits: number, colourType: number, rows: Uint8Array): Uint8Array {
  const chunk = (type: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const sizes = new DataView(new ArrayBuffer(8));
    sizes.setUint32(0, data.length);
    sizes.setUint32(4, crc32(body));
    return Buffer.concat([Buffer.from(sizes.buffer, 0, 4), body, Buffer.from(sizes.buffer, 4)]);
  };
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, bits);
  header.setUint8(9, colourType);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", new Uint8Array()),
  ]);
}

async function refusal(source: MediaSource): Promise<OryxError> {
  const error = await decodeImage(source).then(
    () => expect.fail("it was decoded"),
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(OryxError);
  return error as OryxError;
}

describe("decodes as Pillow does", () => {
  test.each(goldens)("$file", async ({ file, width, height, sha256 }) => {
    const image = await decodeImage(fixture(file));
    expect([image.width, image.height]).toEqual([width, height]);
    expect(createHash("sha256").update(image.data).digest("hex")).toBe(sha256);
  });

  test("bytes in memory as well as a path", async () => {
    expect(await decodeImage({ bytes: bytesOf("rgb.png") })).toEqual(await decodeImage(fixture("rgb.png")));
  });

  test("AVIF with full chroma, to one level", async () => {
    const [ours, pillow] = await Promise.all(
      ["rgb-444.avif", "rgb-444.avif.png"].map((file) => decodeImage(fixture(file))),
    );
    expect([ours!.width, ours!.height]).toEqual([pillow!.width, pillow!.height]);
    expect(Math.max(...ours!.data.map((v, i) => Math.abs(v - pillow!.data[i]!)))).toBeLessThanOrEqual(1);
  });
});

test("takes the high byte of 16-bit grey, where Pillow makes everything above 255 white", async () => {
  const bytes = png(3, 1, 16, 0, Uint8Array.of(0, 0x00, 0xff, 0x7f, 0x80, 0xff, 0x01));
  const { data } = await decodeImage({ bytes });
  expect([...data]).toEqual([0, 0, 0, 0x7f, 0x7f, 0x7f, 0xff, 0xff, 0xff]);
});

describe("probes", () => {
  test.each(goldens)("$file as large as it is on show", async ({ file, width, height }) => {
    const format = file.slice(file.indexOf(".") + 1).replace("jpg", "jpeg");
    expect(await probeImage(fixture(file))).toEqual({ width, height, format });
  });
});

describe("refuses with a code", () => {
  test("what is not there", async () => {
    expect((await refusal(join(scratch, "nothing.jpg"))).code).toBe("media_missing");
    expect((await refusal("zero\0byte.jpg")).code).toBe("media_missing");
  });

  test("a URL, and says to download it", async () => {
    for (const url of ["https://example.org/a.jpg", "data:image/png;base64,iVBORw0KGgo="]) {
      const error = await refusal(url);
      expect(error.code).toBe("media_missing");
      expect(error.remedy).toContain("download");
    }
  });

  test("a folder and a device", async () => {
    expect((await refusal(scratch)).code).toBe("media_unreadable");
    if (process.platform !== "win32") expect((await refusal("/dev/zero")).code).toBe("media_unreadable");
  });

  test("no bytes", async () => {
    expect((await refusal(scratchFile("empty.png", ""))).code).toBe("media_empty");
    expect((await refusal({ bytes: new Uint8Array() })).code).toBe("media_empty");
  });

  test.each([
    ["text.jpg", "a letter, not a picture"],
    ["svg.png", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'],
    ["pdf.png", "%PDF-1.7\n"],
    ["tiff.jpg", "II*\0\x08\0\0\0"],
    ["heic.avif", "\0\0\0\x18ftypheic\0\0\0\0mif1heic"],
    ["two-bytes.jpg", "\xff\xd8"],
  ])("another kind of file: %s", async (name, content) => {
    const path = scratchFile(name, Buffer.from(content, "latin1"));
    expect((await refusal(path)).code).toBe("media_unsupported");
  });

  test("an AVIF film, which the decoder does not know", async () => {
    expect((await refusal(fixture("sequence.avif"))).code).toBe("media_unsupported");
  });

  test.each([
    "rgb-420.jpg",
    "progressive.jpg",
    "rgb.png",
    "palette-4-bit.png",
    "lossy.webp",
    "lossless.webp",
    "rgb.gif",
    "rgb-444.avif",
  ])("%s cut off anywhere before its last tenth", async (file) => {
    const bytes = bytesOf(file);
    for (const part of [0.3, 0.6, 0.9]) {
      expect((await refusal({ bytes: bytes.slice(0, bytes.length * part) })).code).toBe("media_malformed");
    }
  });

  test("a JPEG whose data is cut but whose end mark is there", async () => {
    const bytes = bytesOf("rgb-420.jpg");
    const cut = Uint8Array.of(...bytes.slice(0, bytes.length - 100), 0xff, 0xd9);
    expect((await refusal({ bytes: cut })).code).toBe("media_malformed");
  });

  test("a GIF whose codes stop early, which shows half a picture elsewhere", async () => {
    const bytes = bytesOf("rgb.gif");
    bytes.fill(0, bytes.length * 0.66, bytes.length * 0.66 + 20);
    expect((await refusal({ bytes })).code).toBe("media_malformed");
  });

  test.each([
    [30_000, 30_000],
    [65_536, 1],
    [1, 2 ** 31 - 2],
  ])("a kilobyte that claims %d x %d pixels, from its header", async (width, height) => {
    const bytes = png(width, height, 8, 2, new Uint8Array(300));
    expect((await refusal({ bytes })).code).toBe("media_too_large");
    await expect(probeImage({ bytes })).rejects.toMatchObject({ code: "media_too_large" });
  });

  test("a short progressive JPEG that claims 16000 x 16000 pixels", async () => {
    const bytes = bytesOf("progressive.jpg");
    const sizeAt = Buffer.from(bytes).indexOf(Buffer.from([0xff, 0xc2])) + 5;
    new DataView(bytes.buffer).setUint32(sizeAt, (16_000 << 16) | 16_000);
    await expect(probeImage({ bytes })).rejects.toMatchObject({ code: "media_malformed" });
  });

  test("a short GIF that claims a frame of 16000 x 16000 pixels", async () => {
    const bytes = bytesOf("interlaced.gif");
    const frameAt = bytes.findIndex((v, i) => i > 30 && v === 0x2c && bytes[i + 5] === 37);
    new DataView(bytes.buffer).setUint32(frameAt + 5, (16_000 << 16) | 16_000, true);
    expect((await refusal({ bytes })).code).toBe("media_malformed");
  });

  test("an image file over the limit, unread", async () => {
    const path = scratchFile("huge", bytesOf("rgb.png"));
    await truncate(path, LIMITS.imageBytes + 1); // a hole, which takes no disk
    expect((await refusal(path)).code).toBe("media_too_large");
    await expect(probeImage(path)).rejects.toMatchObject({ code: "media_too_large" });
  });

  test("an aborted request", async () => {
    const signal = AbortSignal.abort();
    await expect(decodeImage(fixture("rgb.png"), { signal })).rejects.toMatchObject({ code: "aborted" });
  });
});

test("decodes a picture one pixel wide and 60000 high", async () => {
  const image = await decodeImage({ bytes: png(1, 60_000, 8, 0, new Uint8Array(120_000)) });
  expect([image.width, image.height, image.data.length]).toEqual([1, 60_000, 180_000]);
});

test("reads a file whose name looks like a decoder's option", async () => {
  const path = scratchFile("photo[page=1]", bytesOf("rgb.png"));
  expect(await decodeImage(path)).toEqual(await decodeImage(fixture("rgb.png")));
});

test("reads a file anew after it changed under the same name", async () => {
  const path = scratchFile("changing", bytesOf("rgb.png"));
  await decodeImage(path);
  scratchFile("changing", bytesOf("grey.png"));
  expect(await decodeImage(path)).toEqual(await decodeImage(fixture("grey.png")));
});

describe("any bytes give a picture of the header's size, or an error with a code", () => {
  async function holds(bytes: Uint8Array): Promise<void> {
    const settled = await Promise.allSettled([probeImage({ bytes }), decodeImage({ bytes })]);
    const [info, image] = settled;
    for (const { status, reason } of settled as { status: string; reason?: unknown }[]) {
      if (status === "rejected") expect(reason).toBeInstanceOf(OryxError);
    }
    if (info.status === "fulfilled" && image.status === "fulfilled") {
      const { width, height } = info.value;
      expect(image.value).toMatchObject({ width, height });
      expect(image.value.data.length).toBe(3 * width * height);
    }
    if (image.status === "fulfilled") expect(info.status).toBe("fulfilled");
  }

  test("random bytes behind each format's signature", async () => {
    const signatures = ["rgb-420.jpg", "rgb.png", "rgb.gif", "lossy.webp", "rgb-444.avif"].map((file) =>
      bytesOf(file).slice(0, 16),
    );
    const behind = fc.tuple(fc.constantFrom(...signatures), fc.uint8Array({ maxLength: 200 }));
    await fc.assert(
      fc.asyncProperty(behind, ([head, tail]) => holds(Uint8Array.of(...head, ...tail))),
      { numRuns: 200 },
    );
  });

  test("valid files with a few bits flipped", async () => {
    const files = [
      "rgb-420.jpg",
      "progressive.jpg",
      "cmyk.jpg",
      "palette-4-bit.png",
      "rgb.gif",
      "lossy.webp",
    ];
    const valid = [...files, "lossless.webp", "rgb-444.avif"].map(bytesOf);
    const flips = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...valid), flips, (original, changes) => {
        const bytes = original.slice();
        for (const [at, mask] of changes) bytes[at % bytes.length]! ^= mask;
        // A canvas of 65535 x 4000 is no error, only slow: keep sizes as they are where they lie bare.
        if (original === valid[4]) bytes.set(original.subarray(6, 10), 6);
        return holds(bytes);
      }),
      { numRuns: 400 },
    );
  });
});
