/** Numbers as people read them. */

/** 7270 -> "7,270" */
export function count(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** 0.1234 -> "12.3%" */
export const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

/** 4.93e9 -> "4.9 GB" (powers of ten) */
export const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
