"""The report driven as its readers drive it: with the pointer, by keyboard, on a phone, in the dark."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


@pytest.fixture
def open_page(browser: Browser, report_file: Path) -> Iterator:
    """Opens the report in a context with some options; afterwards nothing was asked for and nothing was wrong."""
    heard: list[str] = []
    contexts = []

    def open_with(**options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("dialog", lambda dialog: heard.append(dialog.message))
        page.on("request", lambda request: heard.append(request.url) if request.url.startswith("http") else None)
        page.goto(report_file.as_uri())
        expect(page.locator(".card").first).to_be_visible()
        return page

    yield open_with
    for context in contexts:
        context.close()
    assert heard == []


@pytest.fixture
def page(open_page) -> Page:
    return open_page(viewport={"width": 1280, "height": 900})


def cards(page: Page) -> int:
    return page.locator(".card").count()


def show_only(page: Page, verdict: str) -> None:
    page.locator(f"#verdicts .chip:has(input[value='{verdict}'])").click()


def test_the_gallery_filters_by_kind_of_error(page: Page):
    expect(page.locator("#found")).to_have_text("30 of 30 images shown here match, the first 24:")
    for verdict in ("missed", "duplicate", "wrong_class", "poor_mask", "background"):
        show_only(page, verdict)
        expect(page.locator("#found")).to_have_text("5 of 30 images shown here match:")
        assert cards(page) == 5
        name = verdict.replace("_", "-")
        marked = page.locator(f".card path.{name}:not(.faded)")
        assert marked.count() == 5
        assert page.locator(".card path:not(.faded)").count() == 5


def test_the_gallery_filters_by_class_and_by_name(page: Page):
    page.get_by_role("combobox", name="Class").select_option("<script>alert(1)</script>")
    show_only(page, "missed")
    assert cards(page) == 5
    page.get_by_role("combobox", name="Class").select_option("cat")
    assert cards(page) == 0
    show_only(page, "")
    page.get_by_role("searchbox", name="Image").fill("val_00011")
    assert cards(page) == 1


def test_each_table_has_its_own_images(page: Page):
    page.locator("#filters select[name=table]").select_option("Pseudo labels (training)")
    expect(page.locator("#found")).to_have_text("5 of 5 images shown here match:")
    show_only(page, "missed")
    assert cards(page) == 5


def test_a_number_in_the_table_of_errors_opens_its_images(page: Page):
    page.get_by_role("button", name="BESTIE, duplicate: 5, show in the gallery").click()
    expect(page.locator("#found")).to_have_text("5 of 30 images shown here match:")
    expect(page.locator("input[name=verdict][value=duplicate]")).to_be_checked()
    expect(page.locator("#gallery-title")).to_be_in_viewport()


def test_more_images_follow_on_demand(page: Page):
    assert cards(page) == 24
    page.get_by_role("button", name="Show more").click()
    assert cards(page) == 30
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    expect(page.locator(".card").nth(24)).to_be_focused()


def test_an_image_opens_with_its_instances_listed(page: Page):
    show_only(page, "wrong_class")
    page.locator(".card").first.click()
    viewer = page.get_by_role("dialog")
    expect(viewer).to_be_visible()
    expect(viewer.locator("#instances li").first).to_contain_text("<script>alert(1)</script>")
    expect(viewer.locator("#instances li").first).to_contain_text("wrong class, is cat")
    expect(viewer.locator("#instances li").first).to_contain_text("score 0.90")
    viewer.locator("#instances li").first.hover()
    assert viewer.locator("path.lit").count() == 1
    viewer.get_by_label("true objects").check()
    assert viewer.locator("path.truth").count() == 2
    viewer.get_by_label("instances", exact=True).uncheck()
    assert viewer.locator("path:not(.truth)").count() == 0
    viewer.get_by_role("button", name="Close").click()
    expect(viewer).to_be_hidden()


def test_the_gallery_works_by_keyboard_alone(page: Page):
    page.locator(".card").first.focus()
    columns = page.evaluate("getComputedStyle(document.getElementById('cards')).gridTemplateColumns.split(' ').length")
    assert columns > 2
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".card").nth(1 + columns)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog")
    expect(viewer.locator("h3")).to_have_text("val_00005 (1 of 30)")
    page.keyboard.press("ArrowRight")
    expect(viewer.locator("h3")).to_have_text("val_00006 (2 of 30)")
    page.keyboard.press("t")
    assert viewer.locator("path.truth").count() == 2
    page.keyboard.press("i")
    assert viewer.locator("path:not(.truth)").count() == 0
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(viewer.locator("h3")).to_have_text("val_00005 (1 of 30)")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(page.locator(".card").first).to_be_focused()


#: What is drawn on the cards, without the samples of lines under them.
DRAWN = ".card > .picture path"


def show_changed(page: Page, change: str) -> None:
    page.locator("#filters select[name=table]").select_option("Pseudo labels (training)")
    page.locator(f"#changes .chip:has(input[value='{change}'])").click()


@pytest.mark.parametrize(
    ("change", "image"), [("vanished", 0), ("moved", 1), ("class_changed", 2), ("appeared", 3), ("unchanged", 0)]
)
def test_the_gallery_filters_by_change_since_the_other_version(page: Page, change: str, image: int):
    show_changed(page, change)
    expect(page.locator("#coloring select")).to_have_value("change")
    shown = 2 if change == "unchanged" else 1
    expect(page.locator("#found")).to_have_text(f"{shown} of 5 images shown here match:")
    expect(page.locator(".card").first).to_contain_text(f"train_{image:05d}")
    assert page.locator(f"{DRAWN}.{change.replace('_', '-')}:not(.faded):not(.earlier)").count() == shown
    assert page.locator(f"{DRAWN}:not(.faded):not(.earlier)").count() == shown


def test_each_change_has_a_line_of_its_own(page: Page):
    page.locator("#filters select[name=table]").select_option("Pseudo labels (training)")
    page.locator("#coloring select").select_option("changes")
    styles = page.evaluate(
        "['appeared', 'vanished', 'moved', 'class-changed', 'unchanged'].map((each) => getComputedStyle("
        "document.querySelector(`.card > .picture path.${each}:not(.earlier)`)))"
        ".map((style) => `${style.stroke} ${style.strokeDasharray}`)"
    )
    assert len(set(styles)) == 5
    assert page.locator(f"{DRAWN}.earlier").count() == 2  # of the label that moved, of the one of another class
    samples = page.locator("#changes .sample path")
    assert samples.count() == 5
    assert samples.evaluate_all("(all) => all.map((each) => getComputedStyle(each)).map((s) => s.stroke)") == [
        style.rsplit(")", 1)[0] + ")" for style in styles
    ]


def test_changed_images_come_first_and_errors_are_seen_again_when_asked_for(page: Page):
    show_changed(page, "")
    page.locator("#coloring select").select_option("changes")
    captions = page.locator(".card .caption")
    expect(captions).to_contain_text([f"train_0000{row}" for row in (0, 2, 3, 1, 4)])
    expect(page.locator("#changes-note")).to_be_visible()
    show_only(page, "missed")
    expect(page.locator("#coloring select")).to_have_value("verdict")
    expect(captions).to_contain_text([f"train_0000{row}" for row in range(5)])
    expect(page.locator("#changes-note")).to_be_hidden()


def test_a_table_that_was_not_compared_cannot_be_asked_for_changes(page: Page):
    show_changed(page, "moved")
    page.locator("#filters select[name=table]").select_option("BESTIE (validation)")
    expect(page.locator("#changes")).to_be_hidden()
    expect(page.locator("#coloring option")).to_have_text(["errors", "classes"])
    expect(page.locator("#found")).to_have_text("30 of 30 images shown here match, the first 24:")


def test_a_number_in_the_table_of_changes_opens_its_images_and_the_viewer_says_what_changed(page: Page):
    page.get_by_role("button", name="Pseudo labels, all classes, class changed: 1, show in the gallery").click()
    expect(page.locator("#gallery-title")).to_be_in_viewport()
    page.locator(".card").first.click()
    viewer = page.get_by_role("dialog")
    entry = viewer.locator("#instances li").first
    expect(entry).to_contain_text("class changed, was <script>alert(1)</script>, IoU 1.00 with itself before")
    assert viewer.locator("#large path.class-changed:not(.earlier)").count() == 1
    page.keyboard.press("c")
    expect(viewer.locator("#viewer-coloring")).to_have_value("verdict")
    assert viewer.locator("#large path.correct").count() == 1
    page.keyboard.press("Escape")


def test_changes_are_chosen_by_keyboard(page: Page):
    page.locator("#filters select[name=table]").select_option("Pseudo labels (training)")
    page.locator("input[name=change]").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("input[name=change][value=vanished]")).to_be_checked()
    assert cards(page) == 1
    page.locator(".card").first.focus()
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog")
    assert viewer.locator("#large path.vanished").count() == 1
    expect(viewer.locator("#instances")).to_contain_text("vanished")


def test_the_scores_and_the_causes_refer_to_the_other_version(page: Page):
    expect(page.locator("#summary .tile").first).to_contain_text("80.0")
    expect(page.locator("#summary .tile .change").first).to_have_text("+10.0")
    expect(page.locator("#labels")).to_contain_text("make_pseudo_labels.min_area_px: 60 -> 80")
    expect(page.locator("#labels")).to_contain_text("4 of 5 images have changed labels.")


def test_on_a_phone_changes_are_chosen_by_touch(open_page):
    page = open_page(**PHONE, color_scheme="dark")
    page.locator("#filters select[name=table]").select_option("Pseudo labels (training)")
    page.locator("#changes .chip:has(input[value='moved'])").tap()
    assert cards(page) == 1
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    heights = page.locator("#changes .chip span").evaluate_all("(all) => all.map((each) => each.offsetHeight)")
    assert max(heights) >= 34


def test_kinds_of_error_are_chosen_by_keyboard(page: Page):
    page.locator("input[name=verdict]").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("input[name=verdict][value=missed]")).to_be_checked()
    assert cards(page) == 5


def test_classes_have_colors_of_their_own(page: Page):
    page.locator("#coloring select").select_option("classes")
    strokes = page.locator(DRAWN).evaluate_all("(all) => all.map((each) => getComputedStyle(each).stroke)")
    assert len(set(strokes)) == 2
    page.locator(".card").first.click()
    viewer = page.get_by_role("dialog")
    shown = viewer.locator("#large path").evaluate_all("(all) => all.map((each) => getComputedStyle(each).stroke)")
    keys = viewer.locator("#instances .key").evaluate_all(
        "(all) => all.map((each) => getComputedStyle(each).backgroundColor)"
    )
    assert shown == keys and set(shown) <= set(strokes)


def test_kinds_of_errors_are_counted_whatever_the_colors_show(page: Page):
    counts = page.locator("#verdicts small")
    before = counts.all_text_contents()
    page.locator("#coloring select").select_option("classes")
    assert counts.all_text_contents() == before
    assert "0" not in before


def test_every_class_is_in_the_legend(page: Page):
    expect(page.locator("#legend")).to_be_hidden()
    page.locator("#coloring select").select_option("classes")
    expect(page.locator("#legend .entry")).to_have_text(["cat", "<script>alert(1)</script>"])


def test_the_score_from_which_instances_are_shown_is_chosen(page: Page):
    before = page.locator(DRAWN).count()
    page.locator("#score").fill("0.95")
    expect(page.locator("#least output")).to_have_text("0.95")
    after = page.locator(DRAWN).count()
    assert 0 < after < before
    page.locator("#filters select[name=table]").select_option("Pseudo labels (training)")
    expect(page.locator("#least")).to_be_hidden()


def test_images_are_sorted_by_errors_and_by_agreement(page: Page):
    page.get_by_role("button", name="Show more").click()
    page.locator("#filters select[name=order]").select_option("most errors first")
    page.get_by_role("button", name="Show more").click()
    marks = "(all) => all.map((card) => card.querySelectorAll('.picture > svg > path:not(.correct)').length)"
    errors = page.locator(".card").evaluate_all(marks)
    assert errors == sorted(errors, reverse=True) and errors[0] > errors[-1]
    page.locator("#filters select[name=order]").select_option("least agreement with the labels first")
    page.locator("#coloring select").select_option("classes")
    page.get_by_role("button", name="Show more").click()
    classes = page.locator(".card").evaluate_all(
        "(all) => all.map((card) => new Set([...card.querySelectorAll('.picture > svg > path')]"
        ".map((each) => getComputedStyle(each).stroke)).size)"
    )
    assert classes == sorted(classes) and classes[0] < classes[-1]  # each image is labeled with both classes


def test_the_first_tab_leads_to_the_content(page: Page):
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")


def test_a_chart_is_read_by_keyboard_and_by_pointer(page: Page):
    plot = page.locator("#map-by-epoch .plot")
    plot.focus()
    page.keyboard.press("ArrowRight")
    readout = page.locator("#map-by-epoch .readout")
    expect(readout).to_have_text("epoch 2BESTIE 10")
    page.keyboard.press("End")
    expect(readout).to_have_text("epoch 4BESTIE 20")
    expect(plot).to_have_attribute("aria-valuetext", "epoch 4, BESTIE 20")
    page.keyboard.press("Escape")
    expect(readout).to_be_empty()
    box = plot.bounding_box()
    assert box is not None
    plot.hover(position={"x": box["width"] * 0.2, "y": 40})
    expect(readout).to_have_text("epoch 2BESTIE 10")


def test_classes_are_sorted_by_a_column_and_the_threshold_is_chosen(page: Page):
    shown = page.locator("#by-class > div:visible")
    first = shown.locator("tbody th").first
    expect(first).to_have_text("cat")
    shown.get_by_role("button", name="BESTIE").click()
    expect(first).to_have_text("<script>alert(1)</script>")
    expect(shown.locator("th[aria-sort=descending]")).to_contain_text("BESTIE")
    shown.get_by_role("button", name="BESTIE").click()
    expect(first).to_have_text("cat")
    page.get_by_role("combobox", name="IoU threshold").select_option(".25")
    expect(page.locator("#by-class > div:visible td").nth(1)).to_contain_text("90.0")


def test_a_stage_of_the_graph_opens_its_details(page: Page):
    page.locator("svg.wide a[href='#stage-make_pseudo_labels']").click()
    details = page.locator("#stage-make_pseudo_labels")
    expect(details).to_have_attribute("open", "")
    expect(details.get_by_text("data/make_pseudo_labels/instances.parquet")).to_be_visible()
    expect(details.get_by_text("make_pseudo_labels.min_area_px: 60 → 80")).to_be_visible()


def test_it_follows_the_system_into_the_dark_and_back_by_its_button(open_page):
    page = open_page(color_scheme="dark")

    def paper() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert paper() == "rgb(15, 19, 24)"
    page.get_by_role("button", name="Switch to light colors").click()
    assert paper() == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Switch to dark colors").click()
    assert paper() == "rgb(15, 19, 24)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_enough(open_page, scheme: str):
    page = open_page(color_scheme=scheme)
    ratios = page.evaluate(CONTRASTS)
    assert len(ratios) > 50
    low = {text: ratio for text, ratio in ratios.items() if ratio < 4.5}
    assert low == {}


def test_on_a_phone_nothing_is_wider_than_the_screen(open_page):
    page = open_page(**PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    expect(page.locator("svg.tall")).to_be_visible()
    expect(page.locator("svg.wide")).to_be_hidden()
    sizes = page.evaluate(
        "[...document.querySelectorAll('#filters select, #more, .chip span, .card')]"
        ".filter((each) => each.offsetHeight).map((each) => each.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 10
    letters = page.evaluate(
        "[...document.querySelectorAll('.plot .tick')]"
        ".map((each) => parseFloat(getComputedStyle(each).fontSize) * each.getScreenCTM().a)"
    )
    assert min(letters) > 9


def test_on_a_phone_an_image_fills_the_screen_and_is_closed_by_touch(open_page):
    page = open_page(**PHONE)
    page.locator(".card").first.tap()
    viewer = page.get_by_role("dialog")
    box = viewer.bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (360, 740)
    viewer.get_by_role("button", name="Next image").tap()
    expect(viewer.locator("h3")).to_have_text("val_00006 (2 of 30)")
    assert page.evaluate("document.getElementById('viewer').scrollWidth") <= 360
    viewer.get_by_role("button", name="Close").tap()
    expect(viewer).to_be_hidden()


def test_everything_that_can_be_used_has_a_name(page: Page):
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, a, select, input, [tabindex=\"0\"], dialog')].filter((each) =>"
        " !(each.getAttribute('aria-label') || each.getAttribute('aria-labelledby') || each.textContent.trim()"
        " || each.labels?.length)).map((each) => each.outerHTML.slice(0, 80))"
    )
    assert nameless == []


#: WCAG's contrast of every visible text that lies on a plain background.
CONTRASTS = """() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = parse(getComputedStyle(each).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const ratios = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility() || element.closest("script, style, svg, .skip")) continue;
    const lights = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))].sort();
    const ratio = (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
    ratios[text.slice(0, 60)] = Math.min(ratio, ratios[text.slice(0, 60)] ?? 99);
  }
  return ratios;
}"""
