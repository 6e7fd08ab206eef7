// Small things that all views are made of.

import type { ComponentChildren } from "preact";
import { kindOf } from "../kinds";
import { useModel } from "../model";
import { format, type Place } from "../place";
import { bytes, hex } from "../words";

export function To({
  place,
  class: className = "",
  title,
  children,
}: {
  place: Place;
  class?: string;
  title?: string;
  children: ComponentChildren;
}) {
  return (
    <a href={format(place)} class={className} title={title}>
      {children}
    </a>
  );
}

export function Swatch({ kind }: { kind: string }) {
  const { hue, pattern } = kindOf(kind);
  return <i class={`swatch pattern-${pattern}`} style={{ "--hue": `var(--${hue})` }} aria-hidden />;
}

/** An operation by number and title, which leads there. */
export function OpLink({ op, title = true }: { op: number; title?: boolean }) {
  const found = useModel().report.ops[op];
  return (
    <To place={{ view: "replay", op }} class="op-link">
      <span class="number">op {op}</span>
      {title && found && ` ${found.title}`}
    </To>
  );
}

export function RegionLink({ region }: { region: number }) {
  const found = useModel().report.blob?.regions[region];
  if (!found) return null;
  return (
    <To place={{ view: "blob", blob: found.offset }} class="chip region-link">
      <Swatch kind={found.kind} />
      {found.name || kindOf(found.kind).label}
      <small>
        {hex(found.offset, 4)}, {bytes(found.size)}
      </small>
    </To>
  );
}

export function ProgramLink({ name }: { name: string }) {
  return (
    <To place={{ view: "programs", program: name }} class="code">
      {name}
    </To>
  );
}

export function MapLink({ name }: { name: string }) {
  return (
    <To place={{ view: "overview", map: name }} class="code">
      {name}
    </To>
  );
}

/** Links with commas between them. */
export function Listed({ children }: { children: readonly ComponentChildren[] }) {
  return (
    <>
      {children.map((child, index) => (
        <span key={index}>
          {index > 0 && ", "}
          {child}
        </span>
      ))}
    </>
  );
}

export function Facts({ items }: { items: readonly (readonly [string, ComponentChildren])[] }) {
  const shown = items.filter(
    ([, value]) => value !== "" && value !== null && value !== undefined && value !== false,
  );
  return (
    <dl class="facts">
      {shown.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/**
 * What can be chosen on one side, what was chosen on the other; below each other if narrow.
 *
 * `close` is where nothing is chosen; without `children` the list has all the room.
 */
export function Split({
  label,
  list,
  close,
  children,
  class: className = "",
}: {
  label: string;
  list: ComponentChildren;
  close?: Place;
  children: ComponentChildren;
  class?: string;
}) {
  return (
    <div class={`split ${className} ${close ? "" : "unchosen"} ${children ? "" : "alone"}`}>
      <div class="master">{list}</div>
      {children && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it
        <section class="detail" aria-label={label} tabIndex={0}>
          {close && (
            <a class="close" href={format(close)} aria-label="Close" title="Close">
              ×
            </a>
          )}
          {children}
        </section>
      )}
    </div>
  );
}
