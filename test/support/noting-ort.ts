import type { Ort } from "../../src/runtime/node/ort.ts";

/** A library that does nothing but note which of its functions are called, in the order in which they end. */
export function notingOrt(calls: string[]): Ort {
  const inBackground = async (name: string) => {
    await new Promise((resolve) => setImmediate(resolve));
    calls.push(name);
  };
  const get = (_: unknown, name: string) => (name === "inBackground" ? inBackground : () => calls.push(name));
  return new Proxy({}, { get }) as Ort;
}
