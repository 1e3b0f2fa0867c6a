import { parentPort, workerData } from "node:worker_threads";
import { plainError } from "../core/errors.ts";
import type { Report } from "./crew.ts";
import { fileSystem } from "./disk.ts";
import { type Task, Workbench } from "./work.ts";

/** The program of a converting thread: takes units of tasks, reports to crew.ts. */
const port = parentPort;
if (port) {
  const bench = new Workbench(workerData as string, fileSystem);
  const report = (said: Report) => port.postMessage(said);
  port.on("message", async (tasks: Task[]) => {
    try {
      const results = await bench.run(tasks, (bytes, wasThere) =>
        report({ kind: "progress", bytes, wasThere }),
      );
      report({ kind: "done", results });
    } catch (error) {
      report({ kind: "failed", ...plainError(error) });
    }
  });
}
