import { markdownTable } from "../core/text-table.ts";
import { counted, EMPTY, joined, type Rate, rateOf, type Tally } from "./tally.ts";
import { COLUMNS, type Column, GROUPS, type Group, TOPICS, type Topic } from "./world.ts";

/** What a model is meant to reach, as shares. */
export type Targets = Readonly<Partial<Record<Group, Readonly<Partial<Record<Column, number>>>>>>;

const heldOut = (share: number) => ({ seeds: share, combinations: share });

/** What oryx-tiny is meant to reach, on seeds and on combinations that training does not see. */
export const TARGETS: Targets = {
  image: heldOut(0.95),
  video: heldOut(0.9),
  steps: heldOut(0.85),
  describe: heldOut(0.9),
};

/** One line of the table: a group, or one of its topics. */
export interface Row {
  group: Group;
  /** Undefined: all topics of the group. */
  topic?: string;
  rates: Partial<Record<Column, Rate>>;
  targets: Partial<Record<Column, number>>;
}

/** Scores by column and topic, as they come in. */
export class Scores {
  readonly #tallies = new Map<string, Tally>();

  add(column: Column, topic: Topic, score: number): void {
    this.#tallies.set(`${column} ${topic.name}`, counted(this.#of(column, topic), score));
  }

  /** Each group, followed by its topics when it has several; what was not asked is left out. */
  rows(targets: Targets = {}): Row[] {
    return GROUPS.flatMap((group) => {
      const topics = TOPICS.filter((topic) => topic.group === group);
      const whole: Row = { group, rates: this.#rates(topics), targets: targets[group] ?? {} };
      const parts = topics.map(
        (topic): Row => ({
          group,
          topic: topic.name,
          rates: this.#rates([topic]),
          targets: {},
        }),
      );
      return [whole, ...(parts.length > 1 ? parts : [])].filter(({ rates }) => Object.keys(rates).length > 0);
    });
  }

  #of(column: Column, { name }: Topic): Tally {
    return this.#tallies.get(`${column} ${name}`) ?? EMPTY;
  }

  #rates(topics: readonly Topic[]): Partial<Record<Column, Rate>> {
    const rates = COLUMNS.map((column) => {
      return [column, rateOf(joined(topics.map((topic) => this.#of(column, topic))))] as const;
    });
    return Object.fromEntries(rates.filter(([, rate]) => rate !== undefined));
  }
}

const COLUMN_TITLES: Readonly<Record<Column, string>> = {
  seeds: "held-out seeds",
  combinations: "held-out combinations",
  larger: "twice the size",
};

const GROUP_TITLES: Readonly<Record<Group, string>> = {
  image: "image questions",
  video: "video and multiple choice",
  steps: "step lists, exactly right",
  describe: "descriptions, facts (F1)",
};

/**
 * The table as aligned Markdown: a share in percent, the interval in which the true one lies 19 times out of 20, and
 * whether a target is reached.
 */
export function worldTable(rows: readonly Row[]): string {
  const columns = COLUMNS.filter((column) => rows.some(({ rates }) => rates[column]));
  const head = ["", ...columns.map((column) => COLUMN_TITLES[column])];
  const body = rows.map((row) => [title(row), ...columns.map((c) => cell(row.rates[c], row.targets[c]))]);
  return markdownTable([head, ...body]);
}

const title = ({ group, topic }: Row): string => (topic === undefined ? GROUP_TITLES[group] : `- ${topic}`);

function cell(rate: Rate | undefined, target: number | undefined): string {
  if (rate === undefined) return "";
  const shown = `${percent(rate.rate)} (${percent(rate.low)} to ${percent(rate.high)})`;
  if (target === undefined) return shown;
  return `${shown} ${rate.rate >= target ? "✓" : "✗"} ${percent(target)}`;
}

const percent = (share: number): string => (100 * share).toFixed(1);
