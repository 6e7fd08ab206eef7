"""The page of lskel explain, as somebody uses it who points, types or listens."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.explain.browser.browser import Browser

VIEWS = ("overview", "blob", "replay", "programs", "loader", "differences", "problems")
SCREENSHOTS = Path(__file__).parents[3] / "build" / "explain"
# As many elements a page may have at a time, whatever it shows.
MOST_ELEMENTS = 2500


def report(page: Path) -> Any:
    """What the page was made from."""
    packed = re.search(r'<script id="report"[^>]*>([^<]*)', page.read_text())
    assert packed
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


def views(tab: Browser) -> list[str]:
    """The views of the page that is open."""
    return [item.get_attribute("data-view") or "" for item in tab.all('[role="tab"]')]


def heading(tab: Browser) -> str:
    """What is shown beside a list."""
    return tab.find(".detail h2").text


class TestOpens:
    def test_asks_nothing_of_a_network(self, tab: Browser, small: Path) -> None:
        tab.requests()
        tab.open(small)
        for view in views(tab):
            tab.click(f"#tab-{view}")
        assert [url for url in tab.requests() if url != "about:blank"] == [small.as_uri()]

    def test_says_what_it_is_about(self, tab: Browser, small: Path) -> None:
        tab.open(small)
        assert tab.driver.title == "execsnoop.bpf.o - lskel explain"
        assert tab.find("h1").text == "execsnoop execsnoop.bpf.o"
        figures = [item.text.split("\n")[:2] for item in tab.all(".figures li")]
        assert ["1", "program"] in figures
        assert ["2", "maps"] in figures

    def test_without_scripts_it_says_so(self, tab: Browser, small: Path) -> None:
        tab.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            tab.driver.get(small.as_uri())
            text = tab.find("noscript").text
        finally:
            tab.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        assert "execsnoop" in text
        assert "JavaScript" in text

    @pytest.mark.parametrize(
        ("name", "scheme"),
        [
            ("small", "light"),
            ("small", "dark"),
            ("unrolled", "dark"),
            ("compared", "light"),
            ("hopeless", "dark"),
        ],
    )
    def test_has_no_barriers(
        self, tab: Browser, name: str, scheme: str, request: pytest.FixtureRequest
    ) -> None:
        tab.system(prefers_color_scheme=scheme)
        tab.open(request.getfixturevalue(name))
        found = {}
        for view in views(tab):
            tab.click(f"#tab-{view}")
            found[view] = tab.barriers()
        assert found == {view: [] for view in found}

    def test_has_no_barriers_where_something_is_chosen(self, tab: Browser, small: Path) -> None:
        for place in (
            "#blob=0xa0",
            "#op=5",
            "#program=on_exec&insn=25",
            "#map=events",
            "#step=9",
            "#op=99",
        ):
            tab.open(small, place)
            assert tab.barriers() == [], place
        tab.focus('[role="combobox"]')
        tab.press("exec")
        tab.find('[role="option"]')
        assert tab.barriers() == []

    def test_fits_into_a_narrow_window(self, tab: Browser, compared: Path) -> None:
        tab.size(400, 800)
        tab.open(compared)
        for view in views(tab):
            tab.click(f"#tab-{view}")
            assert tab.overflow() <= 0, view
            assert tab.find("#panel").text

    def test_what_tells_one_from_another_is_there_in_a_narrow_window(
        self, tab: Browser, small: Path
    ) -> None:
        tab.size(400, 800)
        tab.open(small, "#replay")
        assert tab.find(".ops .row", "MapCreate 'execsnoo.bss'").text.endswith("execsnoo.bss>")
        tab.open(small, "#program=on_exec&insn=25")
        cut = "return arguments[0].scrollWidth > arguments[0].clientWidth"
        for badge in tab.all(".listing .badge.core > :last-child"):
            assert not tab.script(cut, badge), badge.text


class TestLeads:
    """Clicks lead where they should."""

    def test_from_the_picture_to_the_region_and_its_op(self, tab: Browser, small: Path) -> None:
        region = next(r for r in report(small)["blob"]["regions"] if r["kind"] == "btf")
        tab.open(small, "#blob")
        frame = tab.find(".frame").rect
        per_row = int(tab.find(".zoom output").text.split()[0])
        row, column = divmod(region["offset"] + region["size"] // 2, per_row)
        gutter = 74
        x = gutter + (column + 0.5) * (frame["width"] - gutter) / per_row
        rows = -(-report(small)["blob"]["size"] // per_row)
        tab.click_at(".frame", x, (row + 0.4) * frame["height"] / rows)
        tab.at(f"#blob={region['offset']:#x}")
        assert heading(tab) == region["name"]
        assert tab.find(".hex .row").text.split()[1:3] == ["9f", "eb"]  # BTF's magic number
        tab.click(".detail .uses a", "op 0")
        tab.at("#op=0")
        assert heading(tab) == "op 0 BtfLoad"

    def test_pointing_tells_what_is_there(self, tab: Browser, small: Path) -> None:
        tab.open(small, "#blob")
        tab.point_at(".frame")
        tip = tab.find(".tip").text
        assert re.search(r"0x[0-9a-f]+ in 0x[0-9a-f]+ to 0x[0-9a-f]+", tip), tip
        assert re.search(r"op \d+: ", tip), tip

    def test_from_the_table_of_regions(self, tab: Browser, small: Path) -> None:
        tab.open(small, "#blob")
        tab.click(".regions .row", "attr of op 0")
        tab.at("#blob=0x80")
        assert [cell.text for cell in tab.all(".spans th.code")][:2] == ["btf", "btf_log_buf"]
        tab.click(".regions .row a", "op 1")
        tab.at("#op=1")

    def test_kinds_are_shown_alone(self, tab: Browser, small: Path) -> None:
        tab.open(small, "#blob")
        tab.click(".legend button", "instructions")
        names = {row.text.split("\n")[2] for row in tab.all(".regions .row")}
        assert names == {"insns of op 5"}
        tab.click(".legend button", "instructions")
        tab.find(".regions .row", "attr of op 0")

    def test_what_the_loader_keeps_is_one_entry_of_the_legend(
        self, tab: Browser, small: Path
    ) -> None:
        state = {"fd_array", "status", "fds", "found", "state", "context"}
        regions = [r for r in report(small)["blob"]["regions"] if r["kind"] in state]
        tab.open(small, "#blob")
        chip = tab.find(".legend button", "loader state")
        assert f"{sum(region['size'] for region in regions)} bytes" in chip.text
        chip.click()
        assert chip.get_attribute("aria-pressed") == "true"
        assert tab.find(".regions").get_attribute("aria-rowcount") == str(len(regions) + 1)
        chip.click()
        assert chip.get_attribute("aria-pressed") == "false"
        tab.find(".regions .row", "attr of op 0")

    def test_what_is_chosen_and_in_sight_is_of_the_kinds_that_are_shown(
        self, tab: Browser, small: Path
    ) -> None:
        code = next(r for r in report(small)["blob"]["regions"] if r["kind"] == "insns")
        tab.open(small, "#blob=0x0")
        tab.click(".legend button", "instructions")
        tab.at(f"#blob={code['offset']:#x}")
        assert heading(tab) == code["name"]
        tab.open(small, "#blob")
        while tab.find(".zoom [aria-label='Zoom in']").is_enabled():
            tab.click(".zoom [aria-label='Zoom in']")
        tab.click(".legend button", "instructions")
        top = int(tab.script("return document.querySelector('.frame').scrollTop"))
        assert code["offset"] // 16 == top // 18
        assert tab.place == "#blob"

    def test_nothing_chosen_takes_no_room(self, tab: Browser, small: Path) -> None:
        tab.open(small, "#blob")
        assert not tab.all(".detail")
        assert not tab.find(".zoom button", "to the selection").is_enabled()
        wide = tab.find(".picture").rect["width"]
        tab.click(".regions .row", "attr of op 0")
        assert tab.find(".picture").rect["width"] < wide
        tab.click(".detail .close")
        tab.at("#blob")
        assert not tab.all(".detail")

    def test_from_op_to_op(self, tab: Browser, small: Path) -> None:
        tab.open(small, "#replay")
        tab.click(".ops .row", "ProgLoad 'on_exec'")
        tab.at("#op=5")
        tab.click(".detail .uses a", "op 1 MapCreate 'events'")
        tab.at("#op=1")
        assert heading(tab) == "op 1 MapCreate 'events'"
        tab.click(".detail .uses a", "op 5 ProgLoad")
        tab.at("#op=5")

    def test_from_op_to_region_and_back(self, tab: Browser, small: Path) -> None:
        tab.open(small, "#op=5")
        tab.click(".detail .call a.region-link", "insns of op 5")
        tab.wait(lambda: tab.place.startswith("#blob="))
        assert heading(tab) == "insns of op 5"
        tab.click(".detail .uses a", "op 5")
        tab.at("#op=5")

    def test_from_op_to_the_op_table(self, tab: Browser, small: Path) -> None:
        tab.open(small, "#op=1")
        tab.click(".detail .steps a", "skip to 19")
        tab.at("#step=14")
        assert "14" in tab.find(".op-table .row.selected").text
        tab.click(".op-table .row.selected a", "19")
        tab.at("#step=19")
        tab.click(".op-table .row.selected a", "op 2")
        tab.at("#op=2")

    def test_from_the_loader_to_the_blob(self, tab: Browser, small: Path) -> None:
        """Offsets are hexadecimal here, as in the picture and the tables."""
        tab.open(small, "#loader")
        link = tab.find(".listing .marks a", "blob+0x")
        offset = int(link.text.removeprefix("blob+"), 16)
        link.click()
        tab.at(f"#blob={offset:#x}")
        assert tab.find(".detail .facts dd").text.startswith("0x")

    def test_from_op_to_the_unrolled_code(self, tab: Browser, unrolled: Path) -> None:
        tab.open(unrolled, "#op=1")
        tab.click(".detail a", "to")
        tab.wait(lambda: tab.place.startswith("#loader&insn="))
        assert tab.find(".listing .row.selected").text
        tab.click(".listing .label a", "op 1 MapCreate")
        tab.at("#op=1")

    def test_from_code_to_map_function_and_jump(self, tab: Browser, small: Path) -> None:
        tab.open(small, "#programs")
        tab.click(".listing .badge", "events")
        tab.at("#map=events")
        assert tab.find(".card.chosen h3").text == "events"
        assert tab.script("return document.activeElement.classList.contains('chosen')")
        tab.driver.back()
        tab.click(".listing .badge", "fill")
        tab.at("#program=on_exec&insn=23")
        assert "23" in tab.find(".listing .row.selected").text
        tab.open(small, "#programs")
        tab.click(".listing .row a", "goto +5")
        tab.at("#program=on_exec&insn=14")

    def test_source_beside_code(self, tab: Browser, small: Path) -> None:
        tab.open(small, "#program=on_exec&insn=25")
        row = tab.find(".listing .row.selected").text
        assert "event->pid = task->tgid;" in row
        badge = tab.find(".listing .row.selected .badge.core")
        assert badge.get_property("textContent") == "CO-RE byte_off task_struct.tgid"
        about = tab.find(".selected-insn").text
        assert "execsnoop.bpf.c:29:" in about
        assert "path 0:1" in about
        tab.click(".selected-insn a", "in the blob")
        tab.wait(lambda: tab.place.startswith("#blob="))
        assert heading(tab) == "insns of op 5"

    def test_search_leads_to_what_was_found(self, tab: Browser, small: Path) -> None:
        tab.open(small)
        for query, group, place in [
            ("events ringbuf", "maps", "#map=events"),
            ("real_parent->tgid", "source lines", "#program=on_exec&insn=27"),
            ("lost", "variables", "#map=execsnoo.bss"),
            ("bpf_ringbuf_submit#", "instructions", "#program=on_exec&insn=20"),
            ("op 4", "operations", "#op=4"),
        ]:
            tab.press("/", query)
            assert tab.find('[role="option"]').text.startswith(group), query
            if group == "operations":
                assert "op 4 BtfFind" in tab.find('[role="option"] .code').text
            tab.press(Keys.ENTER)
            tab.at(place)
        tab.press("/", "zzzz")
        tab.find(".found.none")

    def test_sizes_lead_to_regions(self, tab: Browser, small: Path) -> None:
        tab.open(small)
        tab.click(".treemap a.leaf", "BTF")
        tab.at("#blob=0x200")
        tab.open(small)
        tab.click(".choice label", "by owner")
        tab.find(".treemap .group", "program on_exec")

    def test_back_and_forward(self, tab: Browser, small: Path) -> None:
        tab.open(small, "#op=2")
        assert heading(tab) == "op 2 MapCreate 'execsnoo.bss'"
        tab.click(".detail .uses a", "op 0")
        tab.click("#tab-programs")
        tab.at("#programs")
        tab.driver.back()
        tab.at("#op=0")
        assert heading(tab) == "op 0 BtfLoad"
        tab.driver.back()
        tab.at("#op=2")
        tab.driver.forward()
        tab.at("#op=0")

    @pytest.mark.parametrize(
        ("place", "says"),
        [
            ("#op=99", "There is no op 99."),
            ("#op=x", "There is no place 'op=x'."),
            ("#blob=0xffffff", "There is no byte 0xffffff."),
            ("#program=none&insn=1", "There is no program 'none'."),
            ("#program=on_exec&insn=42", "There is no instruction 42."),
            ("#map=%", "There is no map '%'."),
            ("#extern=none", "There is no symbol 'none'."),
            ("#x", "There is no place 'x'."),
            ("#step", "There is no place 'step'."),
            ("#step=9999", "There is no step 9999."),
            ("#differences", "The page has nothing to show as 'differences'."),
            ("#op=7", ""),
            ("#step=9", ""),
            ("#program=on_exec&insn=41", ""),
            ("#loader&insn=1", ""),
        ],
    )
    def test_places_that_there_are_not(
        self, tab: Browser, small: Path, place: str, says: str
    ) -> None:
        tab.open(small, place)
        assert tab.find("#panel").text
        assert tab.find(".notice").text == says
        tab.click("#tab-blob" if "program" in place else "#tab-programs")
        assert tab.find(".notice").text == ""


class TestKeyboard:
    def test_walks_the_picture(self, tab: Browser, small: Path) -> None:
        regions = report(small)["blob"]["regions"]
        tab.open(small, "#blob")
        tab.focus('[role="slider"]')
        tab.press(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        tab.at(f"#blob={regions[2]['offset']:#x}")
        slider = tab.find('[role="slider"]')
        assert slider.get_attribute("aria-valuenow") == "2"
        assert regions[2]["name"] in (slider.get_attribute("aria-valuetext") or "")
        tab.press(Keys.END)
        tab.at(f"#blob={regions[-1]['offset']:#x}")
        tab.press(Keys.ARROW_UP)
        assert tab.place != f"#blob={regions[-1]['offset']:#x}"
        before = tab.find(".zoom output").text
        tab.press("+")
        assert tab.find(".zoom output").text != before

    def test_walks_the_operations(self, tab: Browser, small: Path) -> None:
        tab.open(small, "#op=1")
        tab.focus(".ops")
        tab.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
        tab.at("#op=3")
        active = tab.find(".ops").get_attribute("aria-activedescendant")
        assert tab.find(f'[id="{active}"]').get_attribute("aria-selected") == "true"
        tab.press(Keys.END)
        tab.at("#op=7")
        tab.driver.back()  # walking leaves no trail
        assert not tab.place.startswith("#op")

    def test_walks_the_views(self, tab: Browser, small: Path) -> None:
        tab.open(small)
        tab.focus("#tab-overview")
        tab.press(Keys.ARROW_RIGHT)
        tab.at("#blob")
        tab.press(Keys.END)
        tab.at("#loader")
        tab.press(Keys.ARROW_RIGHT)
        tab.at("#overview")
        stops = [item for item in tab.all('[role="tab"]') if item.get_attribute("tabindex") == "0"]
        assert len(stops) == 1

    def test_few_stops_lead_through_a_table(self, tab: Browser, small: Path) -> None:
        tab.open(small, "#blob=0xb0")
        tab.focus(".regions")
        tab.press(Keys.TAB)
        assert tab.script("return document.activeElement.textContent") == "op 1 MapCreate 'events'"
        tab.press(Keys.TAB)
        assert tab.script("return document.activeElement.className") == "detail"
        tab.focus(".regions")
        tab.press(Keys.ENTER)
        tab.at("#op=1")

    def test_the_first_stop_leads_past_the_top(self, tab: Browser, small: Path) -> None:
        tab.open(small)
        tab.press(Keys.TAB, Keys.ENTER)
        assert tab.script("return document.activeElement.id") == "panel"


class TestColours:
    def test_follow_the_system_until_somebody_chooses(self, tab: Browser, small: Path) -> None:
        def colour() -> str:
            return str(tab.script("return getComputedStyle(document.body).backgroundColor"))

        tab.open(small)
        light = colour()
        tab.system(prefers_color_scheme="dark")
        tab.wait(lambda: colour() != light)
        dark = colour()
        tab.click(".theme")  # light
        assert colour() == light
        tab.open(small)
        assert colour() == light
        tab.click(".theme")  # dark
        assert colour() == dark
        tab.click(".theme")  # as the system has it
        tab.system(prefers_color_scheme="light")
        tab.wait(lambda: colour() == light)


class TestCrowded:
    def test_of_many_operations_the_ends_are_links(self, tab: Browser, crowded: Path) -> None:
        tab.open(crowded)
        line = tab.find(".story li", "creates 100 maps")
        assert line.find_element("css selector", "small").text == "op 1 to op 100"
        assert tab.barriers() == []
        tab.click(".story a", "op 100")
        tab.at("#op=100")

    def test_shows_some_and_all_when_asked(self, tab: Browser, crowded: Path) -> None:
        tab.open(crowded)
        some = len(tab.all(".card"))
        assert 0 < some < 100
        tab.click("[aria-labelledby=maps] .more")
        assert len(tab.all(".card")) == 100
        tab.open(crowded, "#map=map_99")
        assert tab.find(".card.chosen h3").text == "map_99"

    def test_what_is_used_is_drawn_though_there_is_no_room(
        self, tab: Browser, crowded: Path
    ) -> None:
        ops = report(crowded)["ops"]
        last = next(op for op in ops if op["title"] == "ProgLoad 'prog_99'")
        tab.open(crowded, f"#op={last['number']}")
        lanes = tab.find(".ops .row.selected").find_elements("css selector", "svg g:not(.faded)")
        assert len(lanes) == len(last["uses"]) == 2
        assert tab.elements() < MOST_ELEMENTS


@pytest.mark.corpus
class TestLargest:
    def test_is_of_bearable_size(self, large: Path, bulky: Path) -> None:
        assert max(large.stat().st_size, bulky.stat().st_size) < 5 << 20

    def test_only_what_is_in_sight_exists(self, tab: Browser, large: Path) -> None:
        tab.open(large)
        for view in views(tab):
            tab.click(f"#tab-{view}")
            tab.find("#panel > *")
            assert tab.elements() < MOST_ELEMENTS, view

    def test_its_end_is_in_reach(self, tab: Browser, large: Path) -> None:
        rows = report(large)["listings"][0]["rows"]
        tab.open(large, "#programs")
        tab.focus(".listing")
        tab.press(Keys.END)
        tab.at(f"#program=on_event&insn={rows[-1]['insn']}")
        assert rows[-1]["text"] in tab.find(".listing .row.selected").text
        assert tab.elements() < MOST_ELEMENTS
        tab.press(Keys.PAGE_UP)
        tab.find(".listing .row.selected")

    def test_a_place_in_the_middle(self, tab: Browser, large: Path) -> None:
        rows = report(large)["listings"][0]["rows"]
        middle = rows[len(rows) // 2]
        tab.open(large, f"#program=on_event&insn={middle['insn']}")
        selected = tab.find(".listing .row.selected")
        assert middle["text"] in selected.text
        box, frame = selected.rect, tab.find(".listing").rect
        assert frame["y"] <= box["y"] < frame["y"] + frame["height"]

    def test_search_finds_in_all_of_it(self, tab: Browser, large: Path) -> None:
        last = report(large)["listings"][0]["rows"][-1]
        tab.open(large)
        tab.press("/", f"on_event, {last['insn']}")
        tab.find('[role="option"]', last["text"])
        tab.press(Keys.ENTER)
        tab.at(f"#program=on_event&insn={last['insn']}")

    def test_little_in_much_data(self, tab: Browser, bulky: Path) -> None:
        """The picture zooms to 28 bytes in 16 MiB; what repeats is one line."""
        blob = report(bulky)["blob"]
        assert blob["size"] > 16 << 20
        tab.open(bulky, "#blob=0x0")
        assert int(tab.find(".zoom output").text.split()[0].replace(",", "")) >= 1 << 20
        tab.click(".zoom button", "to the selection")
        assert int(tab.find(".zoom output").text.split()[0]) < 256
        most = max(blob["regions"], key=lambda region: int(region["size"]))
        tab.open(bulky, f"#blob={most['offset']:#x}")
        assert re.search(r"and 16 MiB of the same$", tab.find(".hex .row").text)
        assert tab.elements() < MOST_ELEMENTS


class TestFailing:
    @pytest.mark.kernel
    def test_what_the_verifier_refuses(self, tab: Browser, refused: Path) -> None:
        tab.open(refused)
        first = tab.find(".figures li")
        assert first.text.startswith("fails with EACCES\nerror[null-check]")
        assert first.rect["width"] == tab.find(".figures").rect["width"]
        assert "until it failed" in tab.find(".figures").text
        assert "keeps nothing: it fails at op" in tab.find(".story").text
        assert tab.barriers() == []
        tab.click(".figures .bad a")
        tab.at("#problems")
        assert "EACCES" in tab.find(".problem").text
        assert "error[null-check]" in tab.find(".told").text
        assert tab.find(".log .row", "R0 invalid mem access 'map_value_or_null'")
        tab.click(".problems a", "ProgLoad 'count'")
        tab.wait(lambda: tab.place.startswith("#op="))
        assert "EACCES" in tab.find(".ops .row.failed").text
        assert "map_value_or_null" in tab.find(".detail .problem").text
        assert tab.barriers() == []
        failed = tab.find(".ops .row.failed")
        behind = [row for row in tab.all(".ops .row") if row.rect["y"] > failed.rect["y"]]
        assert behind
        for row in behind:
            assert row.find_element("css selector", ".result").text == "not reached"
        # What was done before has its time.
        assert tab.all(".ops .row")[0].find_elements("css selector", ".track i")

    def test_what_has_no_loader(self, tab: Browser, hopeless: Path) -> None:
        tab.open(hopeless)
        assert views(tab) == ["overview", "programs", "problems"]
        tab.click("#tab-problems")
        assert "has no known program type" in tab.find(".problem").text
        tab.click("#tab-programs")
        assert tab.find(".listing .row", "exit")
        tab.open(hopeless, "#blob=0x10")
        assert tab.find("#tab-overview").get_attribute("aria-selected") == "true"

    def test_what_is_not_as_described(self, tab: Browser, untrue: Path) -> None:
        """It is the first thing that the page says, and what is shown is of the bytes."""
        tab.open(untrue)
        assert views(tab) == ["overview", "blob", "loader", "problems"]
        first = tab.all(".figures li")[0].text.split("\n")
        assert first[0] == "not as described"
        assert first[1].startswith("the bytes do not match the description")
        tab.click("#tab-problems")
        assert tab.find(".problems h2").text == "Not what its description generates"
        assert "one run, not a proof" in tab.find(".problem").text


class TestDifferences:
    def test_of_two_objects(self, tab: Browser, compared: Path) -> None:
        against = report(compared)["against"]
        tab.open(compared)
        tab.click("#tab-differences")
        assert tab.find("#versus").text == "Base: hello.bpf.o, this: execsnoop.bpf.o"
        rows = len(tab.all("[aria-labelledby=both-calls] tbody tr"))
        assert rows == sum(call["status"] != "same" for call in against["calls"]) > 0
        tab.click("[aria-labelledby=both-calls] label")
        tab.wait(lambda: len(tab.all("[aria-labelledby=both-calls] tbody tr")) > rows)
        assert "added" in tab.find(".items li", "on_exec").text
        assert "removed" in tab.find(".items li", "hello.bss").text
        removed = next(item for item in against["programs"] if item["status"] == "only b")
        code = f"[aria-label='Code of {removed['name']}']"
        assert not tab.all(f"{code} .row")
        tab.click(f"{code} summary")
        assert tab.find(f"{code} .row").text.startswith(f"0 {removed['code'][0]['text']}")

    def test_are_counted_wherever_one_begins(self, tab: Browser, compared: Path) -> None:
        against = report(compared)["against"]
        number = sum(
            item["status"] != "same"
            for kind in ("calls", "maps", "programs")
            for item in against[kind]
        ) + sum(size["a"] != size["b"] for size in against["sizes"])
        tab.open(compared)
        assert tab.find("#tab-differences").text == f"Differences {number}"
        tab.click(".figures a", f"{number}\ndifferences\nagainst hello.bpf.o")
        tab.at("#differences")

    def test_there_may_be_none(self, tab: Browser, identical: Path) -> None:
        tab.open(identical, "#differences")
        assert tab.find("#versus ~ p").text == "Nothing differs."
        assert not tab.all(".items li")
        assert tab.find("[aria-labelledby=both-Programs] summary").text == "1 the same"
        assert tab.find("#tab-differences").text == "Differences 0"

    def test_of_two_versions(self, tab: Browser, changed: Path) -> None:
        tab.open(changed, "#differences")
        assert [row.text.split("\n") for row in tab.all(".side-by-side .row.differs")] == [
            ["0 w0 = 1", "0 w0 = 2"]  # what was there before is on the left
        ]
        assert tab.find(".side-by-side .head").text.split() == ["base", "this"]
        assert not tab.all("[aria-label='Code of drop'] button")  # there is one difference
        for scheme in ("light", "dark"):
            tab.system(prefers_color_scheme=scheme)
            assert tab.barriers() == []
        tab.click("[aria-label='Code of drop'] h3 a")
        tab.at("#program=drop")


def test_screenshots(tab: Browser, small: Path) -> None:
    """For people to look at."""
    tab.open(small)
    for place in ("#overview", "#blob=0x150", "#op=5", "#program=on_exec&insn=25", "#loader"):
        tab.script("location.hash = arguments[0]", place)
        tab.at(place)
        name = re.split("[#=]", place)[1]
        for scheme in ("light", "dark"):
            tab.system(prefers_color_scheme=scheme)
            tab.wait(lambda scheme=scheme: tab.find("html").get_attribute("data-theme") == scheme)
            target = SCREENSHOTS / f"{name}-{scheme}.png"
            tab.picture(target)
            assert target.read_bytes().startswith(b"\x89PNG")
