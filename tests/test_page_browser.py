"""The page as a reader meets it, in headless Chromium: sorting, filters, keyboard, phone, dark, and nothing unasked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from page_reader import CONTRASTS, Reader, browsing
from page_samples import FACTS, HOSTILE, hostile_page, of_task, sample_page, sections, settled_page

from unibench.page import page, section

pytestmark = pytest.mark.browser

BOARD, XNLI, STS = "#t0", "#t1", "#t2"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(sample_page(), encoding="utf-8")
    return path


@pytest.fixture
def seen(reader: Reader, made: Path) -> Iterator[Reader]:
    """The sample page on a desktop; whatever a test does there, the console stays silent and only the file is read."""
    yield reader.open(made)
    assert reader.complaints() == []
    assert {url.partition("#")[0] for url in reader.requests()} <= {made.as_uri()}


def test_numbers_sort_by_value_and_what_is_not_known_comes_last_both_ways(seen: Reader) -> None:
    # as texts, "9.5" would come after "60.0"
    assert seen.sort(XNLI, 3) == "descending"
    assert seen.column(XNLI, 3) == ["60.0", "52.0", "51.0", "50.0", "40.0", "9.5", "–"]
    assert seen.sort(XNLI, 3) == "ascending"
    assert seen.column(XNLI, 3) == ["9.5", "40.0", "50.0", "51.0", "52.0", "60.0", "–"]
    assert seen.sort(XNLI, 3) is None
    assert seen.column(XNLI, 3) == ["50.0", "52.0", "9.5", "51.0", "–", "40.0", "60.0"]


def test_a_word_in_a_column_of_numbers_comes_after_nan_and_p_starts_with_the_smallest(seen: Reader) -> None:
    assert seen.sort(BOARD, 2) == "descending"
    assert [word.split()[0] for word in seen.column(BOARD, 2)] == ["−5.1", "–", "baseline"]
    assert seen.sort(BOARD, 4) == "ascending"
    assert seen.column(BOARD, 4) == ["0.0200", "–", ""]
    assert seen.order(BOARD, 2) is None, "one heading at a time says its order"


def test_texts_sort_by_letter(seen: Reader) -> None:
    assert seen.sort(XNLI, 1) == "ascending"
    assert [word.split()[0] for word in seen.column(XNLI, 1)] == ["ar", "ar", "de", "de", "mean", "zh", "zh"]
    assert seen.sort(XNLI, 2) == "ascending"
    assert seen.sort(XNLI, 2) == "descending"
    assert seen.column(XNLI, 2) == ["beta"] * 3 + ["alpha"] * 4
    assert seen.one("#sorted").get_property("textContent") == "Sorted by model, descending."


def test_by_keyboard_alone(seen: Reader) -> None:
    assert seen.tab_to("e.classList.contains('skip')") == 1
    assert seen.run("return document.activeElement.getBoundingClientRect().top >= 0")
    seen.tab_to("e.matches('.choice[data-facet=model] summary')")
    seen.press(" ")
    seen.tab_to("e.dataset.name === 'beta'")
    seen.press(" ")
    assert set(seen.column(XNLI, 2)) == {"beta"}
    seen.press("\ue00c")  # Escape
    assert seen.run("return document.activeElement.matches('.choice[data-facet=model] summary')")
    assert not seen.one(".choice[data-facet=model]").get_property("open")
    heading = f"e.parentElement === document.querySelector('{XNLI} thead th:nth-child(3)')"
    seen.tab_to(heading)
    assert seen.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for key, order in (("\ue007", "descending"), (" ", "ascending")):
        seen.press(key)
        assert seen.order(XNLI, 3) == order


@pytest.mark.parametrize(
    ("chosen", "tables", "xnli"),
    [
        ({"model": ["beta"]}, [BOARD, XNLI], ["de beta", "zh beta", "ar beta"]),
        ({"language": ["de", "ar"]}, [BOARD, XNLI], ["mean alpha", "de alpha", "de beta", "ar alpha", "ar beta"]),
        ({"script": ["Hani"]}, [BOARD, XNLI], ["mean alpha", "zh alpha", "zh beta"]),
        ({"script": ["Arab"], "task": ["sts17"]}, [BOARD, STS], []),
        ({"task": ["xnli"], "model": ["alpha"], "language": ["zh"]}, [BOARD, XNLI], ["mean alpha", "zh alpha"]),
        ({"task": ["sts17"], "language": ["de"]}, [BOARD], []),
        ({"model": ["gamma"], "language": ["zh"]}, [BOARD], []),
    ],
    ids=str,
)
def test_filters(seen: Reader, chosen: dict[str, list[str]], tables: list[str], xnli: list[str]) -> None:
    everything = seen.one("#said").text
    for facet, names in chosen.items():
        seen.choose(facet, *names)
    assert seen.shown() == tables
    codes = [word.split()[0] for word in seen.column(XNLI, 1)]
    assert [f"{code} {model}" for code, model in zip(codes, seen.column(XNLI, 2), strict=True)] == xnli
    assert " of 14 rows" in seen.one("#said").text
    seen.one("#clear").click()
    assert seen.shown() == [BOARD, XNLI, STS]
    assert seen.one("#said").text == everything


def test_a_task_hides_the_other_tasks_columns_and_a_pair_counts_under_both_scripts(seen: Reader) -> None:
    names = "return [...document.querySelectorAll('#t0 thead th')].filter((h) => !h.hidden).map((h) => h.innerText)"
    before = seen.run(names)
    seen.choose("task", "xnli")
    assert [name.split()[0] for name in before if name not in seen.run(names)] == ["sts17"]
    seen.choose("task", "xnli", "sts17")
    for script in ("Arab", "Latn"):
        seen.choose("script", script)
        assert "en-ar" in " ".join(seen.column(STS, 1)), script
        seen.choose("script", script)


def test_filters_and_orders_change_no_number(seen: Reader) -> None:
    numbers = "return [...document.querySelectorAll('[data-value]')].map((c) => c.innerText + c.dataset.value).sort()"
    before = seen.run(numbers.replace("innerText", "textContent"))
    seen.choose("script", "Arab")
    seen.sort(XNLI, 3)
    assert seen.run(numbers.replace("innerText", "textContent")) == before
    assert "change no mean, interval, rank or p" in seen.one("#hint").text


def test_nothing_matches_says_so(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page(sections()[1:], [], "t", FACTS), encoding="utf-8")
    reader.open(path, "#language=de")
    assert not reader.one("#nothing").is_displayed()
    reader.choose("task", "sts17")
    assert reader.shown() == []
    assert reader.one("#nothing").is_displayed()
    assert not reader.one(".part h2").is_displayed()
    reader.one("#clear").click()
    assert not reader.one("#nothing").is_displayed()


def test_the_address_holds_the_view(seen: Reader, made: Path) -> None:
    seen.choose("language", "de", "zh")
    seen.sort(XNLI, 3)
    view = (seen.column(XNLI, 1), seen.column(XNLI, 3), seen.shown())
    _, _, fragment = seen.driver.current_url.partition("#")
    seen.open(made, f"#{fragment}")
    assert (seen.column(XNLI, 1), seen.column(XNLI, 3), seen.shown()) == view
    assert seen.order(XNLI, 3) == "descending"
    seen.run("location.hash = '#model=gamma&sort=t1.99.up&sort=x&language=nowhere&%zz'")
    assert set(seen.column(BOARD, 1)) == {"gamma"}
    seen.run("document.querySelector('nav a[href=\"#t2\"]').click()")
    assert seen.driver.current_url.endswith("model=gamma&at=t2")
    assert seen.run("return document.activeElement.id") == "t2"


@pytest.fixture
def folded(reader: Reader, tmp_path: Path) -> Reader:
    (tmp_path / "page.html").write_text(settled_page(), encoding="utf-8")
    return reader.open(tmp_path / "page.html")


def test_a_folded_part_opens_by_keyboard_and_for_whom_a_link_leads_into_it(folded: Reader, tmp_path: Path) -> None:
    assert not folded.one("#t2").is_displayed()
    folded.tab_to("e.localName === 'summary' && e.parentElement.id === 'p1'")
    folded.press("\ue007")
    assert folded.one("#t2").is_displayed()
    for fragment in ("#t4", "#sort=t4.3.ascending", "#model=beta&at=t4"):
        folded.open(tmp_path / "page.html", fragment)
        assert folded.one("#t4").is_displayed(), fragment
    folded.open(tmp_path / "page.html")
    folded.run("document.querySelector('nav a[href=\"#f1\"]').click()")
    assert folded.one("#f1 svg").is_displayed()
    assert not folded.one("#t4").is_displayed()
    assert folded.complaints() == []


def test_everything_opens_and_folds_at_once_and_a_folded_part_says_how_much_is_left_in_it(folded: Reader) -> None:
    assert folded.one("#p1 .count").text == "4 tables, 64 rows"
    folded.choose("language", "de")
    folded.choose("task", "xnli")
    assert folded.one("#p1 .count").text == "2 of 4 tables, 2 of 64 rows"
    listed = "return [...document.querySelectorAll('#contents [data-of=p1] li')].map((li) => li.hidden)"
    assert folded.run(listed) == [False, True, False, True]
    for said, shown in (("Fold all", True), ("Unfold all", False)):
        folded.one("#unfold").click()
        assert folded.one("#t2").is_displayed() == shown
        assert folded.run("return new Promise((r) => setTimeout(() => r(unfold.textContent), 50))") == said


def test_no_number_leaves_its_cell(folded: Reader, tmp_path: Path) -> None:
    outside = """return [...document.querySelectorAll("td.n > b, td.n > .k, td.n > svg")].filter((e) => {
        const cell = e.parentElement.getBoundingClientRect(), own = e.getBoundingClientRect();
        return own.width && (own.left < cell.left - 1 || own.right > cell.right + 1); }).length"""
    for width in (1280, 700, 360):
        folded.open(tmp_path / "page.html", width=width)
        folded.one("#unfold").click()
        assert folded.run(outside) == 0
        assert folded.run("return document.documentElement.scrollWidth <= innerWidth")


def test_figures_are_as_wide_as_they_may_be_and_can_be_read_on_a_phone(seen: Reader, made: Path) -> None:
    assert seen.one("figure svg").rect["width"] == 800
    assert seen.one("figcaption").text == "Bars\nWhat is seen."
    seen.open(made, width=360)
    assert seen.one("figure svg").rect["width"] == 512, "its box scrolls"


def test_a_phone_scrolls_tables_not_the_page_and_keeps_the_first_column(seen: Reader, made: Path) -> None:
    seen.open(made, width=360)
    assert seen.run("return [document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    wide = seen.one(f"{BOARD} .box")
    assert seen.run("arguments[0].scrollLeft = 150; return arguments[0].scrollLeft", wide) > 50
    first = seen.one(f"{BOARD} tbody th").rect
    assert (first["x"], first["width"] < 200) == (0, True)
    also = "return getComputedStyle(document.querySelector('#t1 tbody th'), '::after').content"
    assert seen.run(also) == '"alpha"', "the column of models scrolls away"


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground(seen: Reader, made: Path, dark: bool) -> None:
    seen.open(made, dark=dark)
    seen.choose("model", "beta")
    seen.sort(XNLI, 3)
    for menu in ("nav", ".choice .pop"):
        seen.run("document.querySelector(arguments[0]).parentElement.open = true", menu)
        found = seen.run(CONTRASTS)
        assert len(found) > 50
        assert [pair for pair in found if pair[0] < 4.5] == []
    dim = seen.run("return getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)"
    assert dim == dark


def test_the_theme_can_be_chosen_and_is_forgotten(seen: Reader, made: Path) -> None:
    grounds = []
    for _ in range(4):
        grounds.append(seen.run("return getComputedStyle(document.body).backgroundColor"))
        seen.one("#theme").click()
    system, light, dark, again = grounds
    assert system == light == again != dark
    seen.open(made)
    assert seen.one("#theme").text == "Theme: system"
    assert seen.run("return localStorage.length + sessionStorage.length + document.cookie.length") == 0


def test_a_long_list_of_choices_can_be_searched(reader: Reader, tmp_path: Path) -> None:
    codes = ("af", "ar", "bg", "de", "el", "en", "es", "fi", "fr", "hi", "sw", "vi", "zh")
    path = tmp_path / "page.html"
    table = of_task("xnli", {(code, "alpha"): 0.5 for code in codes})
    path.write_text(page([section(table, tasks={"xnli"})], [], "t", FACTS), encoding="utf-8")
    reader.open(path)
    reader.one(".choice[data-facet=language] summary").click()
    reader.one(".choice[data-facet=language] .find").send_keys("swa")
    shown = "[...document.querySelectorAll('.pop li')].filter((item) => item.checkVisibility())"
    assert reader.run(f"return {shown}.map((item) => item.innerText.trim())") == ["Swahili sw"]
    assert reader.complaints() == []


def test_no_name_runs(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(hostile_page(), encoding="utf-8")
    reader.open(path)
    assert reader.run("return window.harm === undefined")
    assert reader.run("return [document.images.length, document.scripts.length]") == [0, 1]
    assert reader.column("#t0", 1) == list(HOSTILE)
    for name in HOSTILE:
        reader.choose("model", name)
        assert reader.column("#t0", 1) == [name]
        reader.driver.refresh()  # the address holds the name now
        assert reader.column("#t0", 1) == [name]
        reader.choose("model", name)
    assert reader.run("return window.harm === undefined")
    assert reader.complaints() == []
    assert {url.partition("#")[0] for url in reader.requests()} == {path.as_uri()}


def test_the_policy_holds_even_where_escaping_failed(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    harm = "<script>window.harm = 1</script><img src='https://x.test/' onerror='window.harm = 2'>"
    harm += "<p id=m style='color: red'>"
    path.write_text(sample_page().replace("<main", harm + "<main", 1), encoding="utf-8")
    reader.open(path)
    assert reader.run("return window.harm === undefined")
    assert reader.run("return getComputedStyle(document.querySelector('#m')).color") != "rgb(255, 0, 0)"
    assert len(reader.complaints()) >= 3
    assert not [url for url in reader.requests() if url.startswith("https://x.test")]


def test_without_scripts_everything_can_be_read(reader: Reader, made: Path, request: pytest.FixtureRequest) -> None:
    switch: Callable[[bool], Any] = lambda off: reader.driver.execute_cdp_cmd(  # noqa: E731
        "Emulation.setScriptExecutionDisabled", {"value": off}
    )
    request.addfinalizer(lambda: switch(False))
    switch(True)
    reader.open(made)
    assert "60.0" in reader.one(XNLI).text
    assert not reader.one("#filters").is_displayed(), "what does nothing isn't shown"
    assert not reader.driver.find_elements("css selector", "thead button")
    assert reader.one("nav a[href='#t2']").get_attribute("href").endswith("page.html#t2")
