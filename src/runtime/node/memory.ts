import { readFile } from "node:fs/promises";
import koffi from "koffi";

/**
 * Loading a model frees as much memory as it keeps, and closing it frees the rest, in pieces that the GNU
 * allocator holds on to (0.6 times the weights' size, measured after loading). This gives them back to the
 * system. Other allocators do so by themselves.
 */
export async function returnFreedMemory(): Promise<void> {
  if (process.platform !== "linux") return;
  let trim: ReturnType<ReturnType<typeof koffi.load>["func"]>;
  try {
    trim = koffi.load(null).func("malloc_trim", "int", ["size_t"]);
  } catch {
    return; // another C library than GNU's
  }
  await new Promise((resolve) => trim.async(0, resolve));
}

/** From Linux's headers: the pages are not needed, and come back from the file when they are. */
const MADV_DONTNEED = 4;

/**
 * Lets go of the pages of weight files that loading has read. Most kernels pack weights into memory of their own
 * and never look at the file's again, but the mapping stays, and its pages count as this process's memory: 0.9 of
 * 7 GB for a 7B model in 4 bits. Only pages that are as they are in the file are touched, so nothing can be lost.
 */
export async function releaseMappedPages(files: ReadonlySet<string>): Promise<void> {
  if (process.platform !== "linux" || files.size === 0) return;
  let advise: ReturnType<ReturnType<typeof koffi.load>["func"]>;
  let maps: string;
  try {
    advise = koffi.load(null).func("madvise", "int", ["uintptr_t", "size_t", "int"]);
    maps = await readFile("/proc/self/smaps", "utf8");
  } catch {
    return; // a system without these keeps its pages
  }
  for (const { start, end } of cleanMappings(maps, files)) advise(start, end - start, MADV_DONTNEED);
}

interface Mapping {
  start: bigint;
  end: bigint;
}

/** Mappings of the files that hold no page of their own, in the text of /proc/PID/smaps. */
export function cleanMappings(smaps: string, files: ReadonlySet<string>): Mapping[] {
  const clean: Mapping[] = [];
  for (const entry of smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)) {
    const [, start, end, path] = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ +(\/.*)$/m.exec(entry) ?? [];
    if (start === undefined || end === undefined || path === undefined || !files.has(path)) continue;
    if (!/^Private_Dirty: +0 kB$/m.test(entry) || !/^Anonymous: +0 kB$/m.test(entry)) continue;
    clean.push({ start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) });
  }
  return clean;
}
