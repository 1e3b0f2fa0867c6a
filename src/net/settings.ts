import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { OryxError } from "../core/errors.ts";

/** Where models come from and where they are kept. */
export interface HubSettings {
  /** Origin of the hub, without a slash at the end. */
  endpoint: string;
  /** Folder of the cache, in the layout that Python's huggingface_hub uses, so both share their downloads. */
  cacheDir: string;
  /** Sent to the endpoint's origin and nowhere else. */
  token?: string | undefined;
  /** Use the cache alone. */
  offline: boolean;
}

const DEFAULT_ENDPOINT = "https://huggingface.co";

/**
 * Reads the hub's environment variables as Python's huggingface_hub does: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE,
 * HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME. Called at the program's edge; everything else gets the result.
 * @throws OryxError `bad_option` when HF_ENDPOINT is not an http(s) URL.
 */
export function hubSettings(
  env: Readonly<Record<string, string | undefined>>,
  home = homedir(),
): HubSettings {
  const folder = (path: string) => {
    const expanded = path === "~" || path.startsWith("~/") ? join(home, path.slice(1)) : path;
    return isAbsolute(expanded) ? expanded : resolve(expanded);
  };
  const caches = folder(env.XDG_CACHE_HOME || join(home, ".cache"));
  const hfHome = folder(env.HF_HOME || join(caches, "huggingface"));
  const token = env.HF_TOKEN?.trim();
  return {
    endpoint: parseEndpoint(env.HF_ENDPOINT || DEFAULT_ENDPOINT),
    cacheDir: folder(env.HF_HUB_CACHE || join(hfHome, "hub")),
    token: token || undefined,
    offline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? ""),
  };
}

function parseEndpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:" && url?.protocol !== "http:") {
    throw new OryxError("bad_option", `HF_ENDPOINT is not an http(s) URL: ${text}`, "unset it or correct it");
  }
  return text.replace(/\/+$/, "");
}
