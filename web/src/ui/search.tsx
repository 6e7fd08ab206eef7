import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { useModel } from "../model";
import { go } from "../place";
import { type Found, Index } from "../search";

/** A field with a list of what was found below it; "/" leads into it. */
export function Search() {
  const { report } = useModel();
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const [query, setQuery] = useState("");
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  const index = useRef<Index | null>(null);
  const found = useMemo(() => {
    if (!query.trim()) return [];
    index.current ??= new Index(report);
    return index.current.find(query);
  }, [report, query]);

  useEffect(() => {
    const focus = (event: KeyboardEvent) => {
      const inField = (event.target as Element).matches?.("input, select, textarea");
      if (event.key !== "/" || inField || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      input.current?.focus();
      input.current?.select();
    };
    document.addEventListener("keydown", focus);
    return () => document.removeEventListener("keydown", focus);
  }, []);
  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [at]);

  const visit = (chosen: Found | undefined) => {
    if (!chosen) return;
    setOpen(false);
    input.current?.blur();
    go(chosen.place);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const keys: Readonly<Record<string, () => void>> = {
      ArrowDown: () => setAt(Math.min(at + 1, found.length - 1)),
      ArrowUp: () => setAt(Math.max(at - 1, 0)),
      Enter: () => visit(found[at]),
      Escape: () => (open && query ? setOpen(false) : input.current?.blur()),
    };
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  const shown = open && query.trim() !== "";
  return (
    <search class="search">
      <input
        ref={input}
        type="search"
        list={undefined}
        placeholder="Search: names, code, source   /"
        aria-label="Search"
        role="combobox"
        aria-expanded={shown}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={shown && found.length > 0 ? `${id}-${at}` : undefined}
        autocomplete="off"
        spellcheck={false}
        value={query}
        onInput={(event) => {
          setQuery(event.currentTarget.value);
          setAt(0);
          setOpen(true);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={onKeyDown}
      />
      <div
        class="found"
        role="listbox"
        aria-label="Found"
        id={`${id}-list`}
        ref={list}
        hidden={!shown}
      >
        {shown &&
          found.map((item, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the keyboard chooses in the field
            <div
              key={`${item.group} ${index}`}
              id={`${id}-${index}`}
              role="option"
              aria-selected={index === at}
              onMouseDown={(event) => event.preventDefault()}
              onClick={() => visit(item)}
              onMouseEnter={() => setAt(index)}
            >
              <small class="group">
                {item.group === found[index - 1]?.group ? "" : item.group}
              </small>
              <span class="code cut">{item.text}</span>
              <small class="cut">{item.more}</small>
            </div>
          ))}
      </div>
      <p class="unseen" role="status">
        {shown && (found.length ? `${found.length} found` : "nothing found")}
      </p>
      {shown && found.length === 0 && (
        <div class="found none">Nothing has all of these words in it.</div>
      )}
    </search>
  );
}
