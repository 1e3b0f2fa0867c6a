/** What the time of a step goes to. */
export const PHASES = [
  "prepare",
  "vision forward",
  "language",
  "vision backward",
  "accumulate",
  "update",
] as const;
export type Phase = (typeof PHASES)[number];

/** Where time went, and how much was computed meanwhile. */
export class Profile {
  readonly ms: Record<Phase, number>;
  /** Floating-point operations of matrix products, estimated; those that a backward pass computes again count too. */
  flops = 0;

  constructor() {
    this.ms = Object.fromEntries(PHASES.map((phase) => [phase, 0])) as Record<Phase, number>;
  }

  /** Counts the time of some work to a phase, without that of other phases within it. */
  async timed<T>(phase: Phase, work: () => Promise<T> | T): Promise<T> {
    const start = performance.now();
    const counted = this.totalMs;
    try {
      return await work();
    } finally {
      const within = this.totalMs - counted;
      this.ms[phase] += Math.max(0, performance.now() - start - within);
    }
  }

  get totalMs(): number {
    return PHASES.reduce((sum, phase) => sum + this.ms[phase], 0);
  }

  /** Billions of operations a second. */
  get gflops(): number {
    return this.flops / 1e6 / this.totalMs;
  }
}
