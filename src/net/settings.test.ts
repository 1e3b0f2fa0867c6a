import { describe, expect, it } from "vitest";
import { parseModelId, requireModelId } from "./model-id.ts";
import { hubSettings } from "./settings.ts";

describe("the hub's settings", () => {
  it("are Python's defaults without any variable", () => {
    expect(hubSettings({}, "/home/me")).toEqual({
      endpoint: "https://huggingface.co",
      cacheDir: "/home/me/.cache/huggingface/hub",
      token: undefined,
      offline: false,
    });
  });

  it.each([
    [{ XDG_CACHE_HOME: "/xdg" }, "/xdg/huggingface/hub"],
    [{ XDG_CACHE_HOME: "/xdg", HF_HOME: "/hf" }, "/hf/hub"],
    [{ HF_HOME: "/hf", HF_HUB_CACHE: "/cache" }, "/cache"],
    [{ HF_HOME: "~/hf" }, "/home/me/hf/hub"],
    [{ HF_HOME: "" }, "/home/me/.cache/huggingface/hub"],
  ])("find the cache: %o", (env, cacheDir) => {
    expect(hubSettings(env, "/home/me").cacheDir).toBe(cacheDir);
  });

  it("take the endpoint, the token and the offline switch", () => {
    const env = { HF_ENDPOINT: "https://mirror.example/", HF_TOKEN: " hf_x\n", HF_HUB_OFFLINE: "1" };
    expect(hubSettings(env, "/home/me")).toMatchObject({
      endpoint: "https://mirror.example",
      token: "hf_x",
      offline: true,
    });
    expect(hubSettings({ HF_HUB_OFFLINE: "0" }, "/home/me").offline).toBe(false);
  });

  it.each(["mirror.example", "file:///hub", "ftp://hub"])("refuse the endpoint %s", (endpoint) => {
    expect(() => hubSettings({ HF_ENDPOINT: endpoint })).toThrow(
      expect.objectContaining({ code: "bad_option" }),
    );
  });
});

describe("a model id", () => {
  it("is ORG/NAME with an optional revision", () => {
    expect(parseModelId("THUdyh/Oryx-1.5-7B")).toEqual({
      org: "THUdyh",
      name: "Oryx-1.5-7B",
      revision: "main",
    });
    expect(parseModelId("a/b@v1.0", "x")).toEqual({ org: "a", name: "b", revision: "v1.0" });
    expect(parseModelId("a/b@refs/pr/3")?.revision).toBe("refs/pr/3");
  });

  it.each([
    "",
    "oryx",
    "a/b/c",
    "../b",
    "a/..",
    "a/b--c",
    "/a/b",
    "a/b@",
    "a/b@../x",
    "a/b@x/../y",
    "a/b@c@d",
    "a b/c",
    "a/b?x",
    "a/b\n",
    "C:\\a/b",
  ])("is not %j", (text) => {
    expect(() => requireModelId(text)).toThrow(expect.objectContaining({ code: "hub_invalid_id" }));
  });
});
