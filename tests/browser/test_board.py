"""The board in use: a click darkens a tile, the numbers are those of `selviz ablate`, keys do what a mouse does."""

import random

import pytest

from selviz.config import RunConfig
from selviz.runs.train import train_run
from selviz.studies.ablation import run_ablation
from selviz.testing.dashboard import serving
from selviz.text.numbers import percent
from selviz.text.unit_lists import format_units
from tests.helpers.browser import PATIENCE, address_holds

pytestmark = pytest.mark.browser

# Where a unit's tile is on the screen, of the only board that is there.
TILE = """([layer, unit]) => {
  const find = root => root.querySelector('.board-host')
    ?? [...root.querySelectorAll('*')].map(one => one.shadowRoot && find(one.shadowRoot)).find(Boolean);
  const {board} = find(document), frame = board.top.getBoundingClientRect();
  const {x, y, tile} = board.box(board.indices(`${layer}:${unit}`)[0]);
  return [frame.x + x + tile / 2, frame.y + y + tile / 2];
}"""
SILENT = """() => {
  const find = root => root.querySelector('.board-host')
    ?? [...root.querySelectorAll('*')].map(one => one.shadowRoot && find(one.shadowRoot)).find(Boolean);
  const {board} = find(document);
  return board.text(board.silent);
}"""


def open_board(visitor, url):
    """A page with its board drawn."""
    visitor.open(url).tab.locator(".board-row").first.wait_for()
    return visitor


def click(visitor, layer, unit, times=1):
    """A click of the mouse on a unit's tile."""
    visitor.tab.mouse.click(*visitor.tab.evaluate(TILE, [layer, unit]), click_count=times)


def drag(visitor, layer, first, last):
    """A rectangle, drawn with the mouse, around two units of a layer."""
    (left, top), (right, bottom) = (visitor.tab.evaluate(TILE, [layer, unit]) for unit in (first, last))
    visitor.tab.mouse.move(left - 4, top - 4)
    visitor.tab.mouse.down()
    visitor.tab.mouse.move(max(left, right) + 4, max(top, bottom) + 4, steps=5)
    visitor.tab.mouse.up()


def shows(visitor, store, run, units):
    """The board's large number and every class's are those of the library for these units, and stay so."""
    from playwright.sync_api import expect

    result = run_ablation(store, run, units, draws=0)
    of_classes = [percent(row["after"]) for row in result["per_class"]]
    board = visitor.tab.locator(".board-accuracy")
    board.filter(has_text=f"was {percent(result['accuracy_before'])}").wait_for()
    visitor.tab.locator(".board-accuracy b", has_text=percent(result["accuracy_after"])).wait_for()
    values = visitor.tab.locator(".board-row .board-value")
    expect(values).to_have_text(of_classes, timeout=10 * PATIENCE)
    visitor.settle()
    assert values.all_inner_texts() == of_classes


def test_the_start_page_shows_the_network_and_one_click_silences_a_class(visit, address, tiny_store, tiny_run):
    visitor = open_board(visit(), f"{address}/?class=7")
    assert visitor.tab.locator(".board-row").count() == 10
    visitor.tab.get_by_role("button", name="that love").click()
    units = tiny_store.units(tiny_run, "relu4")
    lovers = units.loc[(units["preferred_class"] == "7") & ~units["dead"], "unit"].astype(int).tolist()
    shows(visitor, tiny_store, tiny_run, {"relu4": lovers})
    assert visitor.tab.evaluate(SILENT) == format_units({"relu4": lovers})
    visitor.tab.get_by_role("button", name="Put them back").click()
    visitor.tab.locator(".board-accuracy", has_text="was").wait_for(state="detached")
    visitor.settle().is_well()


def test_a_click_silences_a_tile_a_second_one_puts_it_back_and_the_link_holds_it(visit, address, tiny_store, tiny_run):
    visitor = open_board(visit(), f"{address}/")
    click(visitor, "relu3", 5)
    assert visitor.tab.evaluate(SILENT) == "relu3:5", "the tile answers before the server"
    address_holds(visitor, "silence=relu3")
    click(visitor, "relu4", 17)
    shows(visitor, tiny_store, tiny_run, {"relu3": [5], "relu4": [17]})
    reader = open_board(visit(), visitor.tab.url)
    shows(reader, tiny_store, tiny_run, {"relu3": [5], "relu4": [17]})
    assert reader.tab.evaluate(SILENT) == "relu3:5;relu4:17"
    click(visitor, "relu3", 5)
    shows(visitor, tiny_store, tiny_run, {"relu4": [17]})
    visitor.tab.go_back()
    shows(visitor, tiny_store, tiny_run, {"relu3": [5], "relu4": [17]})
    visitor.is_well()
    reader.is_well()


def test_keys_move_silence_and_open_as_a_mouse_does(visit, address, tiny_store, tiny_run):
    visitor = open_board(visit(), f"{address}/")
    visitor.tab.locator(".board-top").focus()
    keyboard = visitor.tab.keyboard
    keyboard.press("ArrowDown")  # to the first unit
    keyboard.press("ArrowRight")
    spoken = visitor.tab.locator(".board-spoken").inner_text()
    assert "unit 1 of relu1" in spoken and "SI" in spoken
    keyboard.press("s")
    shows(visitor, tiny_store, tiny_run, {"relu1": [1]})
    visitor.tab.locator(".board-top").focus()
    keyboard.press("Enter")
    address_holds(visitor, "/unit?", "layer=relu1", "unit=1")
    visitor.settle().is_well()


def test_a_drag_marks_units_and_silences_them_together(visit, address, tiny_store, tiny_run):
    visitor = open_board(visit(), f"{address}/silence")
    drag(visitor, "relu1", 0, 3)
    visitor.tab.locator(".board-action").click()
    address_holds(visitor, "silence=relu1")
    silent = visitor.tab.evaluate(SILENT)
    assert silent.startswith("relu1:0")
    visitor.settle().is_well()


def test_a_double_click_on_a_board_that_an_image_lights_opens_the_unit(visit, address):
    visitor = open_board(visit(), f"{address}/network?input=image&image=0")
    click(visitor, "relu3", 5, times=2)
    address_holds(visitor, "/unit?", "layer=relu3", "unit=5")
    visitor.sees("Unit 5 of layer").settle().is_well()


def test_a_class_of_the_board_silences_its_units_on_the_page_of_ablation(visit, address, tiny_store, tiny_run):
    visitor = open_board(visit(), f"{address}/silence")
    visitor.tab.locator(".board-row").nth(3).click()
    address_holds(visitor, "rule=class", "prefers=3")
    visitor.sees("loses most").settle().is_well()


@pytest.mark.parametrize(
    "chosen",
    [
        "keep=on&silence=relu4:3,9",
        *(pytest.param(chosen, marks=pytest.mark.slow) for chosen in ("rule=class&prefers=3", "fold=1&mode=mean")),
    ],
)
def test_what_a_click_is_answered_with_ahead_of_the_page_is_what_the_page_then_shows(visit, address, chosen):
    visitor = open_board(visit(), f"{address}/silence?draws=20&{chosen}")
    visitor.tab.evaluate(
        """() => { const {board} = [...window.selvizBoards.boards.values()][0], answer = board.answer;
          window.answers = [];
          board.answer = function (...given) { window.answers.push(given[0]); answer.apply(board, given); }; }"""
    )
    click(visitor, "relu4", 17)
    visitor.tab.wait_for_function("window.answers.length > 0")
    visitor.settle().is_well()
    ahead, shown = visitor.tab.evaluate(
        """() => { const {view} = [...window.selvizBoards.boards.values()][0].board;
          const parts = ["accuracy_before", "accuracy_after", "before", "after"];
          const picked = from => parts.map(name => from[name]);
          return [picked(window.answers.at(-1)), picked(view)]; }"""
    )
    assert ahead == shown


@pytest.mark.parametrize("clicks", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_two_visitors_click_at_random_and_each_sees_the_numbers_of_selviz_ablate(
    visit, address, tiny_store, tiny_run, clicks
):
    dice = random.Random(0)
    visitors = [visit() for _ in range(2)]
    for visitor in visitors:
        visitor.tab.set_default_timeout(10 * PATIENCE)  # some of it takes minutes on a busy machine
        open_board(visitor, f"{address}/silence?draws=20")
    silent: list[dict[str, set[int]]] = [{}, {}]
    sizes = tiny_store.units(tiny_run).groupby("layer", sort=False).size().to_dict()
    for _ in range(clicks):
        for number, visitor in enumerate(visitors):
            layer = dice.choice(list(sizes))
            unit = dice.randrange(sizes[layer])
            silent[number].setdefault(layer, set()).symmetric_difference_update({unit})
            click(visitor, layer, unit)
        for number, visitor in enumerate(visitors):
            units = {layer: sorted(silent[number][layer]) for layer in sizes if silent[number].get(layer)}
            if units:
                shows(visitor, tiny_store, tiny_run, units)
    for visitor in visitors:
        visitor.is_well()


def test_a_removal_curve_plays_on_both_boards_and_ends_with_the_whole_layer_dark(visit, address, tiny_store, tiny_run):
    visitor = open_board(visit(), f"{address}/ablation?show=curves&play=on")
    players = visitor.tab.locator(".board-player:visible")
    players.nth(1).wait_for()
    visitor.settle()
    players.first.get_by_role("button").click()
    visitor.tab.wait_for_function(
        "[...window.selvizBoards.boards].filter(([name]) => name.includes('play')).every(([_, host]) => "
        "host.board.frameAt === host.data.frames.length - 1)"
    )
    every = run_ablation(tiny_store, tiny_run, {"relu4": list(range(64))}, fold=1, draws=0)
    for number in (1, 2):  # behind the board of the page itself
        assert percent(every["accuracy_after"]) in visitor.tab.locator(".board-accuracy").nth(number).inner_text()
    assert players.all_inner_texts() == ["▶ Play\n64 silent"] * 2
    slider = players.nth(1).get_by_role("slider")
    slider.focus()
    visitor.tab.keyboard.press("Home")
    visitor.tab.wait_for_function(
        "[...window.selvizBoards.boards].filter(([name]) => name.includes('play')).every(([_, host]) => "
        "host.board.silent.size === 0)"
    )
    visitor.is_well()


def test_what_is_pointed_at_on_one_board_is_ringed_on_the_other(visit, own_store, tiny_run, tmp_path):
    train_run(own_store, RunConfig("digits", "cnn", alpha=1, epochs=1))
    other = next(name for name in own_store.names() if name != tiny_run)
    with serving(own_store.path) as address:
        visitor = visit().open(f"{address}/compare?baseline={tiny_run}&with={other}")
        visitor.tab.wait_for_function(
            "[...window.selvizBoards.boards.values()].filter(host => host.board).length === 2"
        )
        visitor.settle()
        unit = visitor.tab.evaluate(
            """() => { const {board} = [...window.selvizBoards.boards.values()][0];
              board.top.scrollIntoView({block: "center"});
              const index = board.links.findIndex(match => match >= 0), {x, y, tile} = board.box(index);
              const frame = board.top.getBoundingClientRect();
              return [frame.x + x + tile / 2, frame.y + y + tile / 2]; }"""
        )
        visitor.tab.mouse.move(*unit)
        pointed, linked, expected = visitor.tab.evaluate(
            """() => { const [one, other] = [...window.selvizBoards.boards.values()].map(host => host.board);
              return [one.hover, other.linked, one.links[one.hover]]; }"""
        )
        assert pointed >= 0 and linked == expected >= 0
        assert "most like" in visitor.tab.locator(".board-tip:visible").first.inner_text()
        visitor.is_well()


def test_a_class_bar_of_a_unit_shows_that_classs_images(visit, address, tiny_store, tiny_run):
    visitor = open_board(visit(), f"{address}/unit?layer=relu3&unit=5")
    visitor.tab.locator(".board-row").nth(4).click()
    address_holds(visitor, "of=4", "evidence=images")
    visitor.sees("alone").settle().is_well()
    tiles = visitor.tab.locator("[class*=st-key-tile-most] button").all_inner_texts()
    assert tiles and all(tile.removeprefix("✗ ").startswith("4") for tile in tiles)
    assert "Images of class 4 alone" in visitor.text()


def test_escape_lets_marked_units_go_and_the_table_is_the_boards_text(visit, address):
    visitor = open_board(visit(), f"{address}/ablation")
    drag(visitor, "relu1", 0, 3)
    visitor.tab.locator(".board-action").wait_for()
    visitor.tab.keyboard.press("Escape")
    visitor.tab.locator(".board-action").wait_for(state="hidden")
    assert visitor.tab.evaluate(SILENT) == ""
    label = visitor.tab.locator(".board-top").get_attribute("aria-label")
    assert "144 units in 4 layers" in label and "S silences" in label
