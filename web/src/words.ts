// Numbers and lists in words.

const COUNT = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const count = (number: number): string => COUNT.format(number);

export const hex = (number: number, digits = 0): string =>
  `0x${number.toString(16).padStart(digits, "0")}`;

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function bytes(number: number): string {
  if (number < 10_000) return plural(number, "byte");
  const [unit, size] = number < 1 << 20 ? ["KiB", 1 << 10] : ["MiB", 1 << 20];
  return `${SHORT.format(number / size)} ${unit}`;
}

export function duration(nanoseconds: number): string {
  const units = [
    [1e9, "s"],
    [1e6, "ms"],
    [1e3, "µs"],
  ] as const;
  const [size, unit] = units.find(([size]) => nanoseconds >= size) ?? ([1, "ns"] as const);
  return `${SHORT.format(nanoseconds / size)} ${unit}`;
}

/** "a, b and c". */
export function list(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
