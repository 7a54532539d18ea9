"""An input of one's own, in a browser: drawn, given as a file, or taken with the camera, it lights the board."""

import io

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.browser

# What the board shows of an input: the answer in words, the share of units that are lit, and which are silent.
LIT = """() => {
  const board = [...window.selvizBoards.boards.values()].map(host => host.board).find(one => one);
  if (!board) return {lit: 0}; // between two drawings
  const lit = board.lit ? [...board.lit].filter(value => value > 0).length / board.count : 0;
  return {answer: board.view.headline ?? "", lit, after: board.view.after ?? null, silent: board.text(board.silent)};
}"""


def opened(visitor, url):
    """The page of the network with a board to be lit."""
    visitor.open(url).tab.wait_for_function("[...window.selvizBoards?.boards?.values() ?? []].some(host => host.board)")
    return visitor


def lights(visitor):
    """What the board shows once it is lit."""
    visitor.tab.wait_for_function(f"({LIT})().lit > 0")
    visitor.settle()
    return visitor.tab.evaluate(LIT)


def test_what_is_drawn_lights_the_board_and_what_is_wiped_out_does_not(visit, address):
    visitor = opened(visit(), f"{address}/network?input=draw")
    assert visitor.tab.evaluate(LIT)["lit"] == 0
    visitor.sees("Nothing lights the board yet")
    pad = visitor.tab.locator(".pad-host canvas")
    frame = pad.bounding_box()
    visitor.tab.mouse.move(frame["x"] + 88, frame["y"] + 30)
    visitor.tab.mouse.down()
    visitor.tab.mouse.move(frame["x"] + 88, frame["y"] + 146, steps=8)
    visitor.tab.mouse.up()
    drawn = lights(visitor)
    assert drawn["answer"] and drawn["lit"] > 0.05
    x, y = visitor.tab.evaluate(
        """() => { const {board} = [...window.selvizBoards.boards.values()].find(host => host.board);
          board.top.scrollIntoView({block: "center"});
          const {x: left, y: top} = board.top.getBoundingClientRect();
          const {x, y, tile} = board.box(board.indices("relu4:5")[0]);
          return [left + x + tile / 2, top + y + tile / 2]; }"""
    )
    visitor.tab.mouse.click(x, y)
    visitor.tab.wait_for_function(f"({LIT})().silent === 'relu4:5'")
    visitor.settle()
    visitor.tab.get_by_role("button", name="Clear").click()
    visitor.sees("Nothing lights the board yet")
    visitor.settle().is_well()
    assert visitor.tab.evaluate(LIT)["lit"] == 0


def test_a_light_picture_is_noticed_and_mended_on_request(visit, address):
    picture = np.full((80, 80), 255, dtype=np.uint8)
    picture[15:65, 36:44] = 0
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    visitor = opened(visit(), f"{address}/network?input=own")
    file = {"name": "one.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    visitor.tab.locator("input[type=file]").set_input_files(file)
    before = lights(visitor)
    visitor.sees("Unlike the images that it knows")
    visitor.sees("bright")
    visitor.tab.get_by_text("Mend it").click()
    visitor.tab.wait_for_function(f"JSON.stringify(({LIT})().after) !== {str(before['after']).replace(' ', '')!r}")
    visitor.settle().is_well()


def test_a_picture_from_the_camera_lights_the_board(visit, address):
    visitor = visit()
    visitor.context.grant_permissions(["camera"])
    opened(visitor, f"{address}/network?input=camera")
    visitor.tab.wait_for_function("document.querySelector('video')?.videoWidth > 0")
    visitor.tab.get_by_role("button", name="Take Photo").click()
    assert lights(visitor)["answer"]
    visitor.settle().is_well()
