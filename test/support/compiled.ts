import { mkdir, mkdtemp, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import typescript from "typescript";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** TypeScript modules of the repository, compiled with all that they import, for Node 20's threads to run. */
export interface Compiled {
  modules: URL[];
  /** Where everything lies; for the test to remove. */
  dir: string;
}

export async function compiled(...entries: URL[]): Promise<Compiled> {
  const dir = await mkdtemp(join(tmpdir(), "oryx-compiled-"));
  await symlink(join(ROOT, "node_modules"), join(dir, "node_modules"), "junction");
  await writeFile(join(dir, "package.json"), `{ "type": "module" }`);
  const modules = new Set(entries.map((entry) => fileURLToPath(entry)));
  for (const path of modules) {
    const text = await readFile(path, "utf8");
    for (const imported of typescript.preProcessFile(text).importedFiles) {
      if (imported.fileName.startsWith(".")) modules.add(resolve(dirname(path), imported.fileName));
    }
    await mkdir(dirname(placeOf(path, dir)), { recursive: true });
    await writeFile(placeOf(path, dir), withoutTypes(text));
  }
  return { modules: entries.map((entry) => pathToFileURL(placeOf(fileURLToPath(entry), dir))), dir };
}

const placeOf = (path: string, dir: string) => join(dir, relative(ROOT, path)).replace(/\.ts$/, ".js");

function withoutTypes(text: string): string {
  const compilerOptions = {
    target: typescript.ScriptTarget.ES2023,
    module: typescript.ModuleKind.ESNext,
    verbatimModuleSyntax: true,
    rewriteRelativeImportExtensions: true,
  };
  return typescript.transpileModule(text, { compilerOptions }).outputText;
}
