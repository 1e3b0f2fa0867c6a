/** All that the miniature world can name, and how it asks and answers. Short: every token costs training time. */

// ---------------------------------------------------------------------------------------------- vocabulary

export const COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "black"] as const;
export type Colour = (typeof COLOURS)[number];

export const SHAPES = [
  "circle",
  "square",
  "triangle",
  "star",
  "heart",
  "cross",
  "house",
  "fish",
  "tree",
  "moon",
] as const;
export type Shape = (typeof SHAPES)[number];

export const WORDS = (
  "ANT ARM BAG BALL BAND BEAR BED BELL BIRD BOAT BOOK BOX BUS CAKE CAT COIN CORN CUP DOG DOOR DRUM DUCK EAR " +
  "EGG FARM FIRE FLAG FOX FROG GATE GOLD HAND HAT HILL ICE JAM KEY KING LAKE LAMP LEAF LION MAP MILK NEST OWL " +
  "PARK PEN RAIN RING ROAD ROSE SALT SHIP SHOE SNOW SUN TENT TOY VASE"
).split(" ");

/** What strings that are no words are made of. */
export const CAPITALS = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"];

export const NUMBERS = Array.from({ length: 90 }, (_, i) => String(10 + i));

export const COUNTS = [
  "zero",
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
] as const;
const ORDINALS = ["first", "second", "third", "fourth", "fifth"] as const;

/** Rows of zones, each from left to right. */
export const ZONES = [
  ["top left", "top", "top right"],
  ["left", "middle", "right"],
  ["bottom left", "bottom", "bottom right"],
] as const;
export type Zone = (typeof ZONES)[number][number];

/** Where text stands, from the top. */
export const PLACES = ["top", "middle", "bottom"] as const;
export type Place = (typeof PLACES)[number];

/** What an object of a film does: "it grows", "does it grow". */
export const MOTIONS = [
  "moves left",
  "moves right",
  "moves up",
  "moves down",
  "grows",
  "shrinks",
  "stays still",
  "disappears",
] as const;
export type Motion = (typeof MOTIONS)[number];

export const ICONS = [
  "Mail",
  "Camera",
  "Phone",
  "Music",
  "Clock",
  "Photo",
  "Settings",
  "Search",
  "Save",
  "Trash",
  "Printer",
  "Folder",
  "Lock",
  "Bell",
  "Cloud",
  "Globe",
] as const;
export type Icon = (typeof ICONS)[number];

export const VERBS = ["open", "click", "type", "drag"] as const;
export type Verb = (typeof VERBS)[number];

export const GOALS = [
  "send a photo",
  "make a call",
  "print a page",
  "share a song",
  "set an alarm",
  "book a room",
  "join a meeting",
  "pay a bill",
  "edit a note",
  "plan a trip",
  "order a meal",
  "find a friend",
  "post a video",
  "scan a letter",
  "mute a chat",
  "start a game",
];

/** Something that is shown: an object, or a word or number to read. */
export type Thing = { colour: Colour; shape: Shape } | { text: string };

export interface Step {
  verb: Verb;
  icon: Icon;
}

// ------------------------------------------------------------------------------------------------- phrases

export const article = (noun: string) => (/^[aeiou]/.test(noun) ? "an" : "a");
export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
const plural = (shape: string) => (shape === "fish" ? "fish" : shape === "cross" ? "crosses" : `${shape}s`);

/** Whether a text is neither a word nor a number. */
export const isLetters = (text: string): boolean => !/\d/.test(text) && !WORDS.includes(text);

/** "P-Q" for PQ: letters that are no word are told one by one. */
export const spelt = (letters: string): string => [...letters].join("-");

/** "the red star", "the word MAP", "the letters P-Q" */
export function the(thing: Thing): string {
  if (!("text" in thing)) return `the ${thing.colour} ${thing.shape}`;
  const { text } = thing;
  if (isLetters(text)) return `the ${text.length > 1 ? "letters" : "letter"} ${spelt(text)}`;
  return `the ${/\d/.test(text) ? "number" : "word"} ${text}`;
}

/** "a red star", "the word MAP" */
export const a = (thing: Thing): string =>
  "text" in thing ? the(thing) : `${article(thing.colour)} ${thing.colour} ${thing.shape}`;

/** "at the top left" */
export function at(zone: Zone): string {
  if (zone === "middle") return "in the middle";
  return zone === "left" || zone === "right" ? `on the ${zone}` : `at the ${zone}`;
}

/** "a, b and c" */
const list = (items: readonly string[]): string =>
  items.length < 2 ? items.join() : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;

export const countWord = (count: number): string => COUNTS[count] ?? String(count);
export const ordinal = (index: number): string => ORDINALS[index] ?? String(index + 1);

const SO = ", so ";

/** "A red star, a red moon, so two.": what an answer rests on comes before it, so that it can be read off there. */
export const so = (reasons: readonly string[], conclusion: string): string =>
  reasons.length > 0 ? capital(`${reasons.join(", ")}${SO}${conclusion}.`) : conclusion;

/** What an answer rests on, and what it comes to in the end; each is all of it where it gives no reasons. */
function partsOf(answer: string): [reasons: string, conclusion: string] {
  const at = answer.toLowerCase().lastIndexOf(SO);
  return at < 0 ? [answer, answer] : [answer.slice(0, at), answer.slice(at + SO.length)];
}

export const reasonsOf = (answer: string): string => partsOf(answer)[0];
export const conclusionOf = (answer: string): string => partsOf(answer)[1];

// --------------------------------------------------------------------------------------------------- images

/** Questions about an image: the phrasings of each. */
export const ASK_IMAGE = {
  describe: ["Describe the image in detail.", "What do you see in this image?", "Describe this image."],
  summary: ["Summarise the image.", "Describe the image briefly."],
  count: ["How many objects are there?", "Count the objects."],
  countColour: (colour: Colour) => [`How many ${colour} objects are there?`, `Count the ${colour} objects.`],
  countShape: (shape: Shape) => [`How many ${plural(shape)} are there?`, `Count the ${plural(shape)}.`],
  colourOf: (shape: Shape) => [`What colour is the ${shape}?`, `Which colour does the ${shape} have?`],
  colourAt: (zone: Zone) => [`What colour is the object ${at(zone)}?`],
  shapeOf: (colour: Colour) => [`What shape is the ${colour} object?`, `Which object is ${colour}?`],
  shapeAt: (zone: Zone) => [`What shape is the object ${at(zone)}?`],
  thingAt: (zone: Zone) => [`What is ${at(zone)}?`, `Which object is ${at(zone)}?`],
  zoneOf: (thing: Thing) => [`Where is ${the(thing)}?`, `Where do you see ${the(thing)}?`],
  sideways: (one: Thing, other: Thing) => [`Is ${the(one)} left or right of ${the(other)}?`],
  upright: (one: Thing, other: Thing) => [`Is ${the(one)} above or below ${the(other)}?`],
  word: ["What word is written here?", "Which word can you read?", "Read the word."],
  number: ["What number is written here?", "Which number can you read?", "Read the number."],
  textAt: (place: Place) => [`What is written ${at(place)}?`, `Read the text ${at(place)}.`],
};

/** An image as its answers tell of it, in reading order. */
export interface Told {
  objects: readonly { colour: Colour; shape: Shape; zone: Zone }[];
  texts: readonly { text: string; place: Place }[];
}

/** "There are two objects: a red circle at the top left and a blue star in the middle. The word MAP is at the top." */
export function describeImage({ objects, texts }: Told): string {
  const { length } = objects;
  const verb = length === 1 ? "There is one object" : `There are ${countWord(length)} objects`;
  const told = objects.map(placed);
  const written = texts.map(({ text, place }) => `${capital(the({ text }))} is ${at(place)}.`);
  return [...(length > 0 ? [`${verb}: ${list(told)}.`] : []), ...written].join(" ");
}

/** "a red circle at the top left" */
export const placed = (object: Told["objects"][number]): string => `${a(object)} ${at(object.zone)}`;

/** "A red circle, a blue star and the word MAP." */
export const summariseImage = ({ objects, texts }: Told): string =>
  capital(`${list([...objects, ...texts].map(a))}.`);

/** Of a page full of things. The answer is "red star, blue moon; green fish, pink heart": its rows. */
export const ASK_PAGE = ["Read the page, row by row."];

// --------------------------------------------------------------------------------------------------- films

export const ASK_FILM = {
  summary: ["Summarise the video.", "What happens in this video?", "Describe the video."],
  motionOf: (thing: Thing) => [`What does ${the(thing)} do?`, `What happens to ${the(thing)}?`],
  shapeThat: (motion: Motion) => [`Which object ${motion}?`, `What ${motion}?`],
  colourThat: (motion: Motion) => [`What colour is the object that ${motion}?`],
  place: (index: number) => [`What comes ${ordinal(index)}?`, `Which thing is shown ${ordinal(index)}?`],
  last: ["What comes last?", "Which thing is shown last?"],
  after: (thing: Thing) => [`What comes right after ${the(thing)}?`, `What follows ${the(thing)}?`],
  before: (thing: Thing) => [`What comes right before ${the(thing)}?`],
  many: ["How many things are shown?"],
};

/** "A red star moves left and a blue circle stays still." */
export const summariseMotions = (
  actors: readonly { colour: Colour; shape: Shape; motion: Motion }[],
): string => capital(`${list(actors.map((actor) => `${a(actor)} ${actor.motion}`))}.`);

/** "first a red star", "second the word MAP" */
export const inOrder = (things: readonly Thing[]): string[] =>
  things.map((thing, i) => `${ordinal(i)} ${a(thing)}`);

/** "first a red star, second a blue circle before the word MAP": the list ends with what comes behind the one asked about. */
export const thingAfter = (things: readonly Thing[], index: number): string =>
  `${inOrder(things.slice(0, index + 1)).join(", ")} before ${a(things[index + 1] as Thing)}`;

/** "First a red star, second a blue circle and third the word MAP." */
export const summariseOrder = (things: readonly Thing[]): string => capital(`${list(inOrder(things))}.`);

// ------------------------------------------------------------------------------------------ recorded screens

export const tellStep = ({ verb, icon }: Step): string => `${verb} ${icon}`;

export const ASK_STEPS = {
  how: (goal: string) => [`How do you ${goal}?`, `What are the steps to ${goal}?`],
  step: (index: number) => [`What is step ${index + 1}?`, `What do you do in step ${index + 1}?`],
  many: ["How many steps are there?"],
  after: (step: Step) => [`What do you do right after "${tellStep(step)}"?`],
};

const numbered = (step: Step, index: number): string => `${index + 1}. ${tellStep(step)}`;

/** "1. open Mail 2. click Camera 3. type Search" */
export const listSteps = (steps: readonly Step[]): string => steps.map(numbered).join(" ");

/** "1. open Mail before 2. click Camera": the list ends with what comes behind the step asked about. */
export const stepAfter = (steps: readonly Step[], index: number): string =>
  `${listSteps(steps.slice(0, index + 1))} before ${numbered(steps[index + 1] as Step, index + 1)}`;

/** "To send a photo: 1. open Mail 2. click Camera 3. type Search" */
export const tellSteps = (goal: string, steps: readonly Step[]): string => `To ${goal}: ${listSteps(steps)}`;

// -------------------------------------------------------------------------------------------------- needles

export const ASK_NEEDLE = {
  word: ["What word is on the card?", "Which word does the card show?"],
  number: ["What number is on the card?", "Which number does the card show?"],
  object: ["What is on the card?", "Which object does the card show?"],
  cardColour: ["What colour is the card?"],
  many: ["How many cards are there?", "Count the cards."],
  textOn: (colour: Colour) => [`What is written on the ${colour} card?`],
  colourWith: (thing: Thing) => [`What colour is the card with ${the(thing)}?`],
  firstCard: ["What colour is the first card?", "Which card comes first?"],
  lastCard: ["What colour is the last card?", "Which card comes last?"],
};

// ---------------------------------------------------------------------------------------------------- views

export const ASK_VIEWS = {
  list: ["List the objects with their marks.", "Which object has which mark?"],
  marked: (mark: number) => [`Which object has mark ${mark}?`, `What is the object with mark ${mark}?`],
  colour: (mark: number) => [`What colour is the object with mark ${mark}?`],
  mark: (thing: Thing) => [`Which mark does ${the(thing)} have?`, `What is the mark of ${the(thing)}?`],
  viewsOf: (thing: Thing) => [`How many views show ${the(thing)}?`],
  objects: ["How many objects are there?", "Count the objects."],
  views: ["How many views are there?"],
};

/** "mark 1 a red star", "mark 2 a blue circle": by their marks. */
export const byMark = (objects: readonly { colour: Colour; shape: Shape; mark: number }[]): string[] =>
  objects.toSorted((p, q) => p.mark - q.mark).map((object) => `mark ${object.mark} ${a(object)}`);

/** "Mark 1 a red star, mark 2 a blue circle." */
export const listMarks = (objects: Parameters<typeof byMark>[0]): string =>
  capital(`${byMark(objects).join(", ")}.`);
