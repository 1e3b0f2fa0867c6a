import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** The commit of the fake hub's only model, org/tiny. */
export const COMMIT = "0123456789abcdef0123456789abcdef01234567";
export const WEIGHTS = "model.safetensors";

/** What goes wrong with a request for a file's content. */
export interface Fault {
  /** Break the connection after so many bytes; -1: send headers and fall silent. */
  dropAfter?: number;
  status?: number;
  bytes?: Buffer;
  etag?: string;
  ignoreRange?: boolean;
  ignoreIfRange?: boolean;
}

/** A request that arrived. */
export interface Seen {
  host: "hub" | "cdn";
  /** A file's path, or "api". */
  path: string;
  range: string | undefined;
  token: string | undefined;
}

export function sha256(bytes: Buffer) {
  return createHash("sha256").update(bytes).digest("hex");
}

/** What `git hash-object` prints. */
export function gitSha1(bytes: Buffer) {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

function isLarge(path: string) {
  return !/\.(json|md)$/.test(path);
}

/** The name of a file's blob in the cache. */
export function etagOf([path, bytes]: [string, Buffer]) {
  return isLarge(path) ? sha256(bytes) : gitSha1(bytes);
}

/** A hub on this machine: an API, small files at once, large ones by redirect to a second origin. */
export class FakeHub {
  readonly files = new Map<string, Buffer>([
    ["README.md", Buffer.from("# tiny")],
    ["config.json", Buffer.from('{"a": 123}')],
    ["tokenizer.json", Buffer.from("{}")],
    [WEIGHTS, Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 31 + (i >> 8)) & 255))],
    ["pytorch_model.bin", Buffer.from("the same weights again")],
    ["optimizer.pth", Buffer.from("a trainer's state")],
    ["tower/oryx_vit.pth", Buffer.from("a tower")],
  ]);
  /** Faults of the next requests for a file, in order. */
  readonly faults = new Map<string, Fault[]>();
  readonly seen: Seen[] = [];
  /** Origin of the API. */
  endpoint = "";
  /** Answers in place of the API. */
  api: ((response: ServerResponse) => void) | undefined;
  readonly #hub = createServer((request, response) => this.#answerHub(request, response));
  readonly #cdn = createServer((request, response) => this.#answerCdn(request, response));

  static async start() {
    const fake = new FakeHub();
    await Promise.all(
      [fake.#hub, fake.#cdn].map((s) => new Promise<void>((done) => s.listen(0, "127.0.0.1", done))),
    );
    fake.endpoint = originOf(fake.#hub);
    return fake;
  }

  async stop() {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
    }
  }

  fault(path: string, ...faults: Fault[]) {
    this.faults.set(path, faults);
  }

  /** Requests that reached a file's bytes. */
  contentRequests(path?: string) {
    return this.seen.filter(
      (seen) =>
        seen.path !== "api" &&
        (path ?? seen.path) === seen.path &&
        (seen.host === "cdn") === isLarge(seen.path),
    );
  }

  #note(host: Seen["host"], path: string, { headers }: IncomingMessage) {
    this.seen.push({ host, path, range: headers.range, token: headers.authorization });
  }

  #answerHub(request: IncomingMessage, response: ServerResponse) {
    const path = decodeURIComponent(request.url!);
    const file = /^\/org\/tiny\/resolve\/[^/]+\/(.*)$/.exec(path)?.[1];
    this.#note("hub", file ?? "api", request);
    const bytes = this.files.get(file ?? "");
    response.setHeader("x-repo-commit", COMMIT);
    if (file === undefined) return this.api ? this.api(response) : response.end(this.#listing());
    if (!isLarge(file)) return this.#send(file, request, response);
    const location = `${originOf(this.#cdn)}/${file}?signed=1`;
    const linked = bytes && { "x-linked-size": bytes.length, "x-linked-etag": `"${sha256(bytes)}"` };
    return response.writeHead(302, { location, ...linked }).end();
  }

  #answerCdn(request: IncomingMessage, response: ServerResponse) {
    const file = new URL(request.url!, "http://cdn").pathname.slice(1);
    this.#note("cdn", file, request);
    this.#send(file, request, response);
  }

  #listing() {
    const siblings = [...this.files].map(([rfilename, bytes]) => ({
      rfilename,
      size: bytes.length,
      blobId: gitSha1(bytes),
      ...(isLarge(rfilename) ? { lfs: { size: bytes.length, sha256: sha256(bytes), pointerSize: 130 } } : {}),
    }));
    return JSON.stringify({ id: "org/tiny", sha: COMMIT, siblings });
  }

  #send(file: string, { headers }: IncomingMessage, response: ServerResponse) {
    const fault = this.faults.get(file)?.shift() ?? {};
    if (fault.status) return response.writeHead(fault.status).end();
    const bytes = fault.bytes ?? this.files.get(file)!;
    const etag = fault.etag ?? `"${etagOf([file, bytes])}"`;
    const isSame = fault.ignoreIfRange || headers["if-range"] === undefined || headers["if-range"] === etag;
    const start = fault.ignoreRange || !isSame ? 0 : Number(/\d+/.exec(headers.range ?? "0")![0]);
    const range = start > 0 ? { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {};
    const rest = bytes.subarray(start);
    response.writeHead(start > 0 ? 206 : 200, { etag, "content-length": rest.length, ...range });
    if (fault.dropAfter === undefined) return response.end(rest);
    if (fault.dropAfter < 0) return response.flushHeaders();
    return response.write(rest.subarray(0, fault.dropAfter), () => setTimeout(() => response.destroy(), 20));
  }
}

function originOf(server: Server) {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
