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

/** Path of the ONNX Runtime library that npm installed for this machine. @throws OryxError `runtime_missing`. */
export function installedLibrary(): string {
  const { platform, arch } = process;
  const fileName = FILE_NAME[platform];
  const remedy = "give the path of an ONNX Runtime library (1.17 or later) that was built for this machine";
  if (!fileName) {
    throw new OryxError("runtime_missing", `onnxruntime-node has no library for ${platform}`, remedy);
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
    throw new OryxError("runtime_missing", `onnxruntime-node has no library for ${platform} ${arch}`, remedy);
  }
  return path;
}
