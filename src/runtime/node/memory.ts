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
