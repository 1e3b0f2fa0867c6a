import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { registerAsk } from "./ask.ts";
import { registerBench } from "./bench.ts";
import { registerCache } from "./cache.ts";
import { registerChat } from "./chat.ts";
import { registerConvert } from "./convert.ts";
import { registerEval } from "./eval.ts";
import { usageErrorOf } from "./failure.ts";
import { registerInfo } from "./info.ts";
import { registerNiah } from "./niah.ts";
import { registerPull } from "./pull.ts";
import { Exit, type Io, Shell } from "./shell.ts";
import { registerTrain } from "./train.ts";
import { registerVerify } from "./verify.ts";

/** A verb adds its command; what is heavy it imports when it is run, so that `--help` comes at once. */
export type Verb = (program: Command, shell: Shell) => void;

const VERBS: readonly Verb[] = [
  registerAsk,
  registerChat,
  registerInfo,
  registerPull,
  registerCache,
  registerConvert,
  registerVerify,
  registerBench,
  registerTrain,
  registerEval,
  registerNiah,
];

const EXAMPLES = `
Examples:
  oryx ask photo.jpg "What is in this picture?"
  oryx ask holiday.mp4 "What happens?" --max-frames 128
  oryx ask --frames frames/*.jpg "What moves?" --fps 2
  oryx chat holiday.mp4
  oryx pull ORG/NAME
  oryx ask --model ORG/NAME photo.jpg "Where is this?"

The model is a folder or a pulled ORG/NAME: --model, else ORYX_MODEL, else the one that comes with oryx.
Exit codes: 0 done, 1 failed, 2 called wrongly, 130 interrupted.`;

/**
 * Runs the `oryx` command. Touches nothing but `io`.
 * @param argv arguments after the command's name
 * @returns the exit code
 */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  const shell = new Shell(argv, io);
  try {
    const exitCode = await run(argv, shell);
    await shell.flush();
    return shell.isUnread ? 0 : exitCode;
  } catch (error) {
    return shell.report(error);
  } finally {
    shell.close();
  }
}

async function run(argv: readonly string[], shell: Shell): Promise<number> {
  try {
    await buildProgram(shell).parseAsync([...argv], { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof Exit) return error.exitCode;
    if (error instanceof CommanderError && error.exitCode === 0) return 0; // --help, --version
    if (error instanceof CommanderError && error.code === "commander.help") return 2; // help in place of a verb
    await shell.flush(); // when stdout failed, that is the failure, not the abort that followed
    return shell.isUnread ? 0 : shell.report(error);
  }
}

function buildProgram(shell: Shell): Command {
  const { stdout, stderr } = shell.io;
  const program = new Command("oryx")
    .description("Ask questions of images and long videos, in your own process.")
    .version(packageVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [verb]", "print the help of a verb")
    .addHelpText("after", shell.helpNotes(EXAMPLES))
    .configureHelp({ subcommandTerm: (verb) => `${verb.name()} ${verb.usage().replace("[options] ", "")}` })
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      outputError: () => {}, // told once, by main
      getOutHelpWidth: () => stdout.columns ?? 100,
      getErrHelpWidth: () => stderr.columns ?? 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  for (const register of VERBS) register(program, shell);
  pointToHelp(program, "oryx");
  return program;
}

/** Lets a bad call of a verb point to that verb's own help. */
function pointToHelp(command: Command, call: string): void {
  command.exitOverride((error) => {
    throw error.message.startsWith("error: ") ? usageErrorOf(error.message, call) : error;
  });
  for (const verb of command.commands) pointToHelp(verb, `${call} ${verb.name()}`);
}

function packageVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
