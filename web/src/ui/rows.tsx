// A table of any length, of which only the rows in sight exist. Arrow keys walk it.

import {
  elementScroll,
  observeElementOffset,
  observeElementRect,
  Virtualizer,
} from "@tanstack/virtual-core";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";

interface RowsProps {
  readonly label: string;
  readonly count: number;
  /** In pixels, all the same or by index. */
  readonly height: number | ((index: number) => number);
  readonly selected?: number;
  /** Whether a row can be selected; all can where this is not given. */
  readonly selectable?: (index: number) => boolean;
  readonly onSelect?: (index: number, how: "new" | "walk") => void;
  readonly onHover?: (index: number | undefined) => void;
  readonly head?: readonly string[];
  readonly className?: string;
  readonly style?: Readonly<Record<string, string>>;
  readonly rowClass?: (index: number) => string;
  /** The cells of a row. */
  readonly children: (index: number) => ComponentChildren;
}

export function Rows(props: RowsProps) {
  const { label, count, height, selected, selectable, onSelect, head, className = "" } = props;
  const id = useId();
  const scroll = useRef<HTMLDivElement>(null);
  const headHeight = head ? 30 : 0;
  const virtual = useVirtualizer(scroll, count, height, headHeight);

  // Rows of other heights are to be measured anew; other rows may be out of sight.
  useLayoutEffect(() => virtual.measure(), [virtual, count, height]);
  useEffect(() => {
    if (selected !== undefined && selected < count && !inSight(scroll.current, virtual, selected))
      virtual.scrollToIndex(selected, { align: "center" });
  }, [virtual, selected, count, label]);

  // The Tab key stops at links of the selected row only: it shall not have to go through them all.
  useLayoutEffect(() => {
    for (const link of scroll.current?.querySelectorAll<HTMLElement>(".row a") ?? [])
      link.tabIndex = link.closest(".selected") ? 0 : -1;
  });

  const walk = (from: number, step: number) => {
    const last = count - 1;
    let at = Math.min(Math.max(from, 0), last);
    while (selectable && !selectable(at) && at + step >= 0 && at + step <= last) at += step;
    if (!selectable || selectable(at)) onSelect?.(at, "walk");
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (!onSelect || event.ctrlKey || event.metaKey || event.altKey || count === 0) return;
    const at = selected ?? -1;
    const { startIndex = 0, endIndex = 0 } = virtual.range ?? {};
    const page = Math.max(1, endIndex - startIndex - 1);
    const keys: Record<string, () => void> = {
      ArrowDown: () => walk(at + 1, 1),
      ArrowUp: () => walk(at - 1, -1),
      PageDown: () => walk(at + page, 1),
      PageUp: () => walk(at - page, -1),
      Home: () => walk(0, 1),
      End: () => walk(count - 1, -1),
      Enter: () => document.getElementById(`${id}-${at}`)?.querySelector("a")?.click(),
    };
    const act = keys[event.key];
    const inLink = event.key === "Enter" && event.target !== event.currentTarget;
    if (!act || inLink) return;
    event.preventDefault();
    act();
  };
  const hover = (index: number | undefined) => props.onHover && (() => props.onHover?.(index));

  return (
    <div
      class={`rows ${className}`}
      {...(props.style ? { style: props.style } : {})}
      role="grid"
      aria-label={label}
      aria-rowcount={count + (head ? 1 : 0)}
      aria-activedescendant={selected === undefined ? undefined : `${id}-${selected}`}
      aria-readonly="true"
      tabIndex={0}
      ref={scroll}
      onKeyDown={onKeyDown}
      onMouseLeave={hover(undefined)}
    >
      {head && (
        <div class="head" role="row" aria-rowindex={1}>
          {head.map((text) => (
            <span key={text} role="columnheader">
              {text}
            </span>
          ))}
        </div>
      )}
      <div
        class="all"
        role="rowgroup"
        style={{ height: `${virtual.getTotalSize() - headHeight}px` }}
      >
        {virtual.getVirtualItems().map(({ index, start, size }) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the grid takes the keys
          <div
            key={index}
            id={`${id}-${index}`}
            class={`row ${index === selected ? "selected" : ""} ${props.rowClass?.(index) ?? ""}`}
            role="row"
            aria-rowindex={index + (head ? 2 : 1)}
            aria-selected={onSelect ? index === selected : undefined}
            style={{ transform: `translateY(${start - headHeight}px)`, height: `${size}px` }}
            onMouseEnter={hover(index)}
            onClick={select(index, props)}
          >
            {props.children(index)}
          </div>
        ))}
      </div>
    </div>
  );
}

/** A click on a link leads where the link says. */
function select(index: number, props: RowsProps): ((event: MouseEvent) => void) | undefined {
  const { onSelect, selectable } = props;
  if (!onSelect || (selectable && !selectable(index))) return undefined;
  return (event) => {
    if (!(event.target as Element).closest("a")) onSelect(index, "new");
  };
}

type Rows = Virtualizer<HTMLDivElement, HTMLDivElement>;

function useVirtualizer(
  scroll: { readonly current: HTMLDivElement | null },
  count: number,
  height: number | ((index: number) => number),
  paddingStart: number,
): Rows {
  const [, draw] = useReducer((drawn: number) => drawn + 1, 0);
  const options = {
    count,
    paddingStart,
    scrollPaddingStart: paddingStart,
    estimateSize: typeof height === "number" ? () => height : height,
    getScrollElement: () => scroll.current,
    observeElementRect,
    observeElementOffset,
    scrollToFn: elementScroll,
    overscan: 8,
    onChange: () => draw(undefined),
  };
  const [virtual] = useState(() => new Virtualizer<HTMLDivElement, HTMLDivElement>(options));
  virtual.setOptions(options);
  useLayoutEffect(() => virtual._didMount(), [virtual]);
  useLayoutEffect(() => virtual._willUpdate());
  return virtual;
}

function inSight(element: HTMLDivElement | null, virtual: Rows, index: number): boolean {
  const [offset] = virtual.getOffsetForIndex(index, "start") ?? [];
  const item = virtual.getVirtualItems().find((item) => item.index === index);
  if (!element || offset === undefined || !item) return false;
  const { scrollTop, clientHeight } = element;
  const top = virtual.options.paddingStart;
  return item.start >= scrollTop + top && item.end <= scrollTop + clientHeight;
}
