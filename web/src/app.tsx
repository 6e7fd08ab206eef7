import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { missing } from "./missing";
import { Model, ModelProvider } from "./model";
import { go, type Place, parse, type View } from "./place";
import type { Report } from "./report";
import { applyTheme, storedTheme, storeTheme, THEMES, type Theme } from "./theme";
import { Search } from "./ui/search";
import { BlobView } from "./views/blob";
import { Differences, differenceCount } from "./views/differences";
import { LoaderView } from "./views/loader";
import { Overview } from "./views/overview";
import { Problems, problemCount } from "./views/problems";
import { Programs } from "./views/programs";
import { Replay } from "./views/replay";
import { count } from "./words";

interface Tab {
  readonly view: View;
  readonly label: string;
  readonly number?: number;
}

export function App({ report }: { report: Report }) {
  const model = useMemo(() => new Model(report), [report]);
  const place = usePlace();
  const tabs = useMemo(() => tabsOf(report), [report]);
  const view = tabs.some((tab) => tab.view === place.view) ? place.view : "overview";
  const notice = missing(
    model,
    window.location.hash,
    place,
    tabs.map((tab) => tab.view),
  );
  return (
    <ModelProvider value={model}>
      {/* biome-ignore lint/a11y/useValidAnchor: it leads there, but addresses say the place */}
      <a
        class="skip"
        href="#panel"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById("panel")?.focus();
        }}
      >
        Skip to the content
      </a>
      <header>
        <Top report={report} />
        <Tabs tabs={tabs} view={view} />
      </header>
      <main>
        <p class="notice" role="status">
          {notice}
        </p>
        <div id="panel" role="tabpanel" aria-labelledby={`tab-${view}`} tabIndex={-1}>
          <Panel view={view} place={place} report={report} />
        </div>
      </main>
    </ModelProvider>
  );
}

function Panel({ view, place, report }: { view: View; place: Place; report: Report }) {
  const { blob, loader, against } = report;
  switch (view) {
    case "blob":
      return blob && <BlobView place={place} blob={blob} />;
    case "replay":
      return <Replay place={place} />;
    case "programs":
      return <Programs place={place} />;
    case "loader":
      return loader && <LoaderView place={place} loader={loader} />;
    case "differences":
      return against && <Differences against={against} />;
    case "problems":
      return <Problems />;
    default:
      return <Overview place={place} />;
  }
}

function tabsOf(report: Report): readonly Tab[] {
  const problems = problemCount(report);
  return [
    { view: "overview", label: "Overview" },
    ...(report.blob ? [{ view: "blob", label: "Blob" } as const] : []),
    ...(report.ops.length
      ? [{ view: "replay", label: "Replay", number: report.ops.length } as const]
      : []),
    ...(report.programs.length
      ? [{ view: "programs", label: "Programs", number: report.programs.length } as const]
      : []),
    ...(report.loader ? [{ view: "loader", label: "Loader" } as const] : []),
    ...(report.against
      ? [
          {
            view: "differences",
            label: "Differences",
            number: differenceCount(report.against),
          } as const,
        ]
      : []),
    ...(problems ? [{ view: "problems", label: "Problems", number: problems } as const] : []),
  ];
}

/** Where the address says that one is. */
function usePlace(): Place {
  const [place, setPlace] = useState(() => parse(window.location.hash));
  useEffect(() => {
    const changed = () => setPlace(parse(window.location.hash));
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return place;
}

function Top({ report }: { report: Report }) {
  const { meta } = report;
  const facts = [
    meta.source === "object" ? "" : meta.source,
    meta.form && `${meta.form} form`,
    `${meta.order}-endian`,
    meta.license,
    `lskel ${meta.lskel}`,
  ].filter(Boolean);
  return (
    <div class="top">
      <h1>
        {meta.name} <small>{meta.file}</small>
      </h1>
      <p class="about">{facts.join(" · ")}</p>
      <Search />
      <ThemeButton />
    </div>
  );
}

const SIGNS = { auto: "◐", light: "☀", dark: "☾" } as const;

function ThemeButton() {
  const [theme, setTheme] = useState(storedTheme);
  useEffect(() => applyTheme(theme), [theme]);
  const choose = (theme: Theme) => {
    storeTheme(theme);
    setTheme(theme);
  };
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "auto";
  return (
    <button
      type="button"
      class="theme"
      onClick={() => choose(next)}
      aria-label={`Colours: ${theme}; change to ${next}`}
      title={`Colours: ${theme}`}
    >
      {SIGNS[theme]}
    </button>
  );
}

/** Tabs as WAI-ARIA has them: one stop for the Tab key, arrow keys choose. */
function Tabs({ tabs, view }: { tabs: readonly Tab[]; view: View }) {
  const bar = useRef<HTMLDivElement>(null);
  const last = useLastPlaces(view);
  useEffect(() => {
    document.getElementById(`tab-${view}`)?.scrollIntoView({ inline: "nearest", block: "nearest" });
  }, [view]);
  const choose = (tab: Tab | undefined) => tab && go(last(tab.view));
  const onKeyDown = (event: KeyboardEvent) => {
    const at = tabs.findIndex((tab) => tab.view === view);
    const to: Readonly<Record<string, number>> = {
      ArrowRight: (at + 1) % tabs.length,
      ArrowLeft: (at + tabs.length - 1) % tabs.length,
      Home: 0,
      End: tabs.length - 1,
    };
    const index = to[event.key];
    if (index === undefined) return;
    event.preventDefault();
    choose(tabs[index]);
    bar.current?.querySelectorAll<HTMLElement>('[role="tab"]')[index]?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="Views" ref={bar} onKeyDown={onKeyDown}>
      {tabs.map((tab) => (
        <button
          type="button"
          key={tab.view}
          id={`tab-${tab.view}`}
          role="tab"
          aria-selected={tab.view === view}
          aria-controls="panel"
          tabIndex={tab.view === view ? 0 : -1}
          data-view={tab.view}
          onClick={() => choose(tab)}
        >
          {tab.label}
          {tab.number !== undefined && <small> {count(tab.number)}</small>}
        </button>
      ))}
    </div>
  );
}

/** Where one was last in each view: its tab leads back there. */
function useLastPlaces(view: View): (view: View) => Place {
  const places = useRef(new Map<View, Place>());
  places.current.set(view, parse(window.location.hash));
  return (wanted) => {
    const place = places.current.get(wanted);
    return place?.view === wanted ? place : { view: wanted };
  };
}
