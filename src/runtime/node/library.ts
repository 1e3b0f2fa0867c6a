import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { OryxError } from "../../core/errors.ts";

/** ONNX Runtime's file name in the `onnxruntime-node` package, for each operating system it supports. */
const FILE_NAME: Readonly<Record<string, string>> = {
  linux: "libonnxruntime.so.1",
  darwin: "libonnxruntime.1.dylib",
  win32: "onnxruntime.dll",
};

/**
 * The oldest version that is taken: the one that npm installs, with which all of this is tested. Of older ones some lack
 * operations, and the attention of some takes each step of several tokens for a sequence's first: wrong, without an error.
 */
export const OLDEST_VERSION = "1.30";

/** What to give in the place of a library that cannot be used. */
export const OTHER_LIBRARY = `give the path of an ONNX Runtime library (${OLDEST_VERSION} or later) for this machine`;

/** @param version as a library tells it: "1.30.0" */
export function isTooOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_VERSION.split(".").map(Number) as [number, number];
  return !(major > oldestMajor || (major === oldestMajor && minor >= oldestMinor));
}

/** Path of the ONNX Runtime library that npm installed for this machine. @throws OryxError `runtime_missing`. */
export function installedLibrary(): string {
  const { platform, arch } = process;
  const fileName = FILE_NAME[platform];
  if (!fileName) {
    throw new OryxError("runtime_missing", `onnxruntime-node has no library for ${platform}`, OTHER_LIBRARY);
  }
  let packageFile: string;
  try {
    packageFile = createRequire(import.meta.url).resolve("onnxruntime-node/package.json");
  } catch (cause) {
    throw new OryxError(
      "runtime_missing",
      "the package onnxruntime-node is not installed",
      "run: npm install onnxruntime-node",
      { cause },
    );
  }
  const path = join(dirname(packageFile), "bin", "napi-v6", platform, arch, fileName);
  if (!existsSync(path)) {
    const problem = `onnxruntime-node has no library for ${platform} ${arch}`;
    throw new OryxError("runtime_missing", problem, OTHER_LIBRARY);
  }
  return path;
}
