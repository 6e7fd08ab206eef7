import { useState } from "preact/hooks";
import { count } from "../words";

/** Of long lists the first things are shown, and all for who asks: nobody reads hundreds. */
const SHOWN = 60;

/** How many of `all` things to show, so that number `needed` is among them. */
export function useMore(all: number, needed = -1) {
  const [isOpen, open] = useState(false);
  const shown = isOpen || needed >= SHOWN || all <= SHOWN + 10 ? all : SHOWN;
  const more = shown < all && (
    <button type="button" class="more" onClick={() => open(true)}>
      show all {count(all)}
    </button>
  );
  return [shown, more] as const;
}
