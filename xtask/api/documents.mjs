// Parses boards as Mermaid does, and AsyncAPI documents as the parser of AsyncAPI does. Fails on any that is not valid.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
import { JSDOM } from "jsdom";

globalThis.window = new JSDOM("").window;
globalThis.document = window.document;
const { default: mermaid } = await import("mermaid");
const WARNING = 1;
for (const file of process.argv.slice(2)) {
  const text = readFileSync(file, "utf8");
  if (file.endsWith(".mmd")) {
    const { diagramType } = await mermaid.parse(text);
    console.log(`${file}: a ${diagramType}`);
    continue;
  }
  const { diagnostics } = await new Parser().parse(text);
  const found = diagnostics.filter((it) => it.severity <= WARNING);
  for (const { path, message } of found) console.error(`${file}: ${path.join("/")}: ${message}`);
  if (found.length > 0) process.exit(1);
  console.log(`${file}: valid AsyncAPI`);
}
