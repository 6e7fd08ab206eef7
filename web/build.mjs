// Builds src/lskel/explain/assets/page.html: the page of `lskel explain`, in one file.
//
//     node build.mjs           writes it
//     node build.mjs --check   fails where it is not what this would write

import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "../src/lskel/explain/assets/page.html");

async function bundle() {
  const result = await build({
    absWorkingDir: here,
    entryPoints: ["src/main.tsx"],
    outdir: "out",
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
    charset: "utf8",
    metafile: true,
    write: false,
  });
  const text = (ending) =>
    result.outputFiles.find((file) => file.path.endsWith(ending)).text.trim();
  return { js: text(".js"), css: text(".css"), inputs: Object.keys(result.metafile.inputs) };
}

/** The licences of the packages that are in the bundle, which ask to be carried along. */
async function licences(inputs) {
  const names = inputs
    .map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1])
    .filter((name) => name !== undefined);
  const texts = [...new Set(names)].sort().map(async (name) => {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const text = await readFile(join(folder, "LICENSE"), "utf8");
    return `${name} ${version} (${license})\n\n${text.trim()}`;
  });
  const all = (await Promise.all(texts)).join("\n\n\n");
  if (all.includes("--")) throw new Error("a licence would end the comment that it stands in");
  return all;
}

async function page() {
  const { js, css, inputs } = await bundle();
  const hash = createHash("sha256").update(js).digest("base64");
  const parts = {
    csp: `default-src 'none'; script-src 'sha256-${hash}'; style-src 'unsafe-inline'; img-src data:`,
    css,
    js,
    licences: await licences(inputs),
  };
  const shell = await readFile(join(here, "src/page.html"), "utf8");
  return shell.replace(/<!--(\w+)-->/g, (_, name) => parts[name]);
}

const text = await page();
if (process.argv.includes("--check")) {
  if ((await readFile(target, "utf8")) !== text) {
    console.error(`${target} is not what build.mjs writes: run "make web"`);
    process.exitCode = 1;
  }
} else {
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, text);
  console.log(`${target}: ${text.length} characters`);
}
