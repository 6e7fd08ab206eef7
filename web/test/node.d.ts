// What the tests take of Node.js; all of its types would show what the page does not have.

declare module "node:test" {
  export function test(name: string, body: () => void): void;
}

declare module "node:assert/strict" {
  export function equal<T>(actual: T, expected: T): void;
  export function deepEqual<T>(actual: T, expected: T): void;
}
