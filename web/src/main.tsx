import { render } from "preact";
import { App } from "./app";
import { readReport } from "./data";
import { applyTheme, storedTheme } from "./theme";
import "./style.css";

async function show(root: HTMLElement): Promise<void> {
  try {
    const report = await readReport();
    root.textContent = "";
    render(<App report={report} />, root);
  } catch (error) {
    root.textContent = `This report cannot be shown: ${error instanceof Error ? error.message : error}`;
    throw error;
  }
}

applyTheme(storedTheme())(); // before anything is seen
const root = document.getElementById("page");
if (root) void show(root);
