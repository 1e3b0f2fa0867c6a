#!/usr/bin/env node
import { existsSync } from "node:fs";

const built = new URL("../dist/cli/main.js", import.meta.url);

if (existsSync(built)) {
  const { main } = await import(built.href);
  const { argv, stdin, stdout, stderr, env } = process;
  // A scheduler that ends a training sends SIGTERM: it deserves its snapshot too.
  const signals = ["SIGINT", "SIGTERM"];
  const onInterrupt = (listener) => {
    for (const signal of signals) process.on(signal, listener);
    return () => {
      for (const signal of signals) process.off(signal, listener);
    };
  };
  process.exitCode = await main(argv.slice(2), { stdin, stdout, stderr, env, onInterrupt });
} else {
  console.error("oryx is not built: run npm ci or npm run build.");
  process.exitCode = 1;
}
