// Light, dark, or as the system has it; kept for the next time where the browser allows that.

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEY = "lskel-explain-theme";
const DARK = window.matchMedia("(prefers-color-scheme: dark)");

export function storedTheme(): Theme {
  try {
    return THEMES.find((theme) => theme === window.localStorage.getItem(KEY)) ?? "auto";
  } catch {
    return "auto"; // no storage for files, or forbidden
  }
}

export function storeTheme(theme: Theme): void {
  try {
    window.localStorage.setItem(KEY, theme);
  } catch {
    // It holds until the page is closed.
  }
}

/** Style sheets and pictures go by the attribute that this sets; it returns how to end it. */
export function applyTheme(theme: Theme): () => void {
  const apply = () => {
    const system = DARK.matches ? "dark" : "light";
    document.documentElement.dataset.theme = theme === "auto" ? system : theme;
  };
  apply();
  DARK.addEventListener("change", apply);
  return () => DARK.removeEventListener("change", apply);
}
