/**
 * Every limit of the project, in one place, each with its reason. Anything that comes from outside (a file, a
 * header, a request) is checked against these before memory is allocated for it.
 */
export const LIMITS = {
  /** Header of a safetensors file: the format's own bound; real ones are under 1 MB. */
  safetensorsHeaderBytes: 100_000_000,
  /** Text inside a JSON header (names, metadata): 20,000 names of 200 bytes, with room. */
  jsonTextBytes: 16_000_000,
  /** Tensors in one weight file: Yi-34B has 543 and OryxViT 327; a header of 100,000 was measured to take 220 MB. */
  tensorsPerFile: 20_000,
  /** Dimensions of one tensor: ONNX Runtime's kernels stop well before this. */
  tensorRank: 8,
  /** Pickle of a .pth file: OryxViT's is 20 kB; a pickle this large is not a state dict. */
  pickleBytes: 16_000_000,
  /** Instructions in such a pickle: a tensor takes about 45, so 10,000 tensors; each may make a dict of 200 bytes. */
  pickleOps: 500_000,
  /** Members of a .pth file, one per tensor: OryxViT's has 330, a 34B language model's 550. */
  zipMembers: 10_000,
  /** Directory of a .pth file: 10,000 members at 60-odd bytes, with room for long names. */
  zipDirectoryBytes: 8_000_000,
  /** Width of a model (hidden, MLP, heads times head size): Yi-34B's widest is 20,480. */
  modelWidth: 262_144,
  /** Blocks of a model: Oryx-1.5-32B has 64. */
  modelLayers: 1024,
  /** Rows of the embedding and ids of the tokenizer: Qwen2's are 152,064, the largest published ones near 262,000. */
  vocabSize: 1_000_000,
  /** Context that a config may claim, in tokens: the largest published claims are 10 million. */
  maxPositions: 100_000_000,
  /** config.json, generation_config.json, cases.json: published ones are under 10 kB. */
  configBytes: 4_000_000,
  /** tokenizer.json: Qwen2's is 7 MB, the largest published ones 35 MB. */
  tokenizerBytes: 100_000_000,
  /** An image file: a 16-bit TIFF-sized PNG of the pixel limit below is about this large. */
  imageBytes: 512_000_000,
  /** Pixels of one decoded image, checked in its header: 3 bytes each, so 768 MB at most would be needed; sharp's own default. */
  imagePixels: 268_402_689,
  /** A side of an image or frame in pixels: JPEG's and WebP's own bounds are near it. */
  imageSide: 65_535,
  /** Bytes of a GIF that are read for its first frame: enough for 40 megapixels of noise. */
  gifBytes: 64_000_000,
  /** Files in one request: more are a mistake in a shell pattern. */
  mediaPerRequest: 4096,
  /** Frames that one video request may sample: the paper's needle test ends at 1.6k, this project's at 10k. */
  framesPerVideo: 10_000,
  /** Tokens that a prompt's segment has at least; shorter ones are read with what follows, for a run of the model each. */
  segmentTokens: 32,
  /**
   * Bytes of keys and values that are kept for each millisecond that computing them took: at 500 MB a second, a disk's
   * speed at least, they are back in a tenth of it. Qwen2-7B on a CPU makes 2,000 bytes in a millisecond, a 0.5B
   * 20,000; a fast GPU makes more than this, and computes them again.
   */
  snapshotBytesPerMs: 50_000,
  /** Keys and values that are kept however soon they were computed: two milliseconds of a disk. */
  smallSnapshotBytes: 1_000_000,
  /** The cache on disk by default: features and keys of some hundred videos for a small model, of a few for a 7B. */
  cacheBytes: 10_000_000_000,
  /** The cache in memory by default: enough for the film that is being talked about, little beside a model. */
  cacheMemoryBytes: 256_000_000,
  /** Files of the cache on disk, looked through when there is no room, else once a minute at most: 20 ms a thousand. */
  cacheFiles: 10_000,
  /** What the cache leaves free of a disk, a small one apart: others need it more. */
  cacheFreeBytes: 1_000_000_000,
  /** Frames that wait, decoded and resized, for the encoder: enough to even out groups of pictures; 11 MB at most. */
  framesAhead: 16,
  /** Pixels of one frame of a film: 8192 x 4320, the most that H.264, H.265, VP9 and AV1 levels allow. */
  framePixels: 35_389_440,
  /** Frames in a film, checked in its index: nine hours at 30 per second, and 100 MB once parsed. */
  videoPackets: 1_000_000,
  /** Frames in one fragment of an mp4: ten seconds of sound have 480. */
  fragmentPackets: 65_536,
  /** Index (moov or moof) of an mp4: that of a film of a million frames takes 20 MB. */
  videoIndexBytes: 64_000_000,
  /** Top-level boxes of an mp4: ten hours in fragments of a second have 72,000. */
  videoBoxes: 100_000,
  /** Merges of a tokenizer: Qwen2 has 151k; tokenizers converted from sentencepiece list several per token. */
  vocabMerges: 4_000_000,
  /** UTF-16 units of one text in a prompt: 131k tokens, the longest context, hold about 500k of English. */
  promptChars: 1_000_000,
  /** Bytes of one training record as JSON: two texts of the prompt's length; the longest published ones have 100 kB. */
  recordBytes: 4_000_000,
  /** Records in one file, at 16 bytes each in its index: the paper's largest set has 4.1 million. */
  recordsPerFile: 50_000_000,
  /** Turns in one record: published ones about regions of a picture have a few hundred. */
  turnsPerRecord: 4096,
  /** Stop strings of one request, and UTF-16 units of one: OpenAI's API takes 4; longer texts than this are content. */
  stopStrings: 64,
  stopStringChars: 1024,
  /** Texts whose likelihood one request may ask for: each is a run of the model of its own. */
  likelihoodTexts: 1024,
  /** A file of questions: the largest that are read, tens of thousands of questions, have under 10 MB. */
  questionFileBytes: 32_000_000,
  /** Questions of one evaluation: the largest published sets have 40,000. */
  questionsPerSet: 100_000,
  /** Files of questions in one folder: MVBench has 20. */
  questionFiles: 1000,
  /** Options of one question: as many as there are letters. */
  optionsPerQuestion: 26,
  /** Files and folders looked at for media: 1,500 scans of 2,000 pictures each. */
  mediaFolderEntries: 4_000_000,
  /** Folders below one another that are looked into for media: benchmarks have three or four. */
  mediaFolderDepth: 12,
  /** UTF-16 units of a medium's name in a file of questions: the longest path that Linux takes. */
  nameChars: 4096,
  /** Pictures, distractors or questions of one needle in a folder of them: all of a needle's pictures are in memory. */
  picturesPerNeedle: 64,
  /** Needles in one file: a test asks about each of them in every cell. */
  needlesPerFile: 10_000,
  /** Threads that may be asked for: more than any machine has that this runs on, and each has a stack. */
  threads: 1024,
  /** Log of answers: a million of 1 kB each. */
  answerLogBytes: 1_000_000_000,
  /** Files of one model on the hub: large ones have a few hundred shards. */
  hubFiles: 10_000,
  /** The hub's list of a model's files: about 300 bytes a file. */
  hubAnswerBytes: 16_000_000,
} as const;
