"""What must hold of every page at every width: `faults(visitor)` are the sentences that say what does not.

`watch_layout(context)` first, so that the layout shift of each page is measured from its beginning.
"""

from axe_playwright_python.sync_playwright import Axe

MAX_SHIFT = 0.1
# The cumulative layout shift as browsers define it: the largest sum of shifts that lie less than a second apart, in at
# most five seconds, without those that follow a click or key.
SHIFT = """(() => { let first = 0, last = 0, sum = 0; window.shifted = 0; new PerformanceObserver(list => {
  for (const {hadRecentInput, startTime, value} of list.getEntries()) {
    if (hadRecentInput) continue;
    if (startTime - last > 1000 || startTime - first > 5000) { sum = 0; first = startTime; }
    last = startTime;
    sum += value;
    window.shifted = Math.max(window.shifted, sum);
  } }).observe({type: 'layout-shift', buffered: true}); })()"""
# The boxes of all text that is seen, cut to what no scrolling box hides: [words, left, top, right, bottom, in a chart].
# Text that stands on a slant has a box larger than itself, and is left out.
BOXES = """() => {
  const boxes = [];
  const seen = (box, element) => {
    let {left, top, right, bottom} = box;
    for (let one = element; one; one = one.parentElement ?? one.getRootNode().host) {
      if (one instanceof SVGElement && one.tagName !== 'svg') continue;
      const style = getComputedStyle(one);
      if (style.position === 'fixed') return null;
      if (style.overflowX === 'visible' && style.overflowY === 'visible') continue;
      const edge = one.getBoundingClientRect();
      left = Math.max(left, edge.left); right = Math.min(right, edge.right);
      top = Math.max(top, edge.top); bottom = Math.min(bottom, edge.bottom);
    }
    return right - left > 1 && bottom - top > 1 ? [left, top, right, bottom] : null;
  };
  const note = (words, box, element) => {
    const cut = seen(box, element);
    if (cut) boxes.push([words.trim().slice(0, 50), ...cut, !!element.closest('svg')]);
  };
  const slanted = element => {
    for (let one = element; one && one.tagName !== 'svg'; one = one.parentElement) {
      const angle = Math.abs(+(/rotate\\((-?[\\d.]+)/.exec(one.getAttribute('transform') ?? '')?.[1] ?? 0));
      if (angle % 90 > 1) return true;
    }
    return false;
  };
  const walk = root => {
    for (const element of root.children) {
      if (/^(style|script|noscript|template)$/i.test(element.tagName)) continue;
      if (!element.checkVisibility?.({opacityProperty: true, visibilityProperty: true})) continue;
      if (element.matches('[data-testid=stIconMaterial], [data-testid=stTooltipContent], .modebar')) continue;
      if (element.tagName === 'text') {
        if (element.textContent.trim() && !slanted(element))
          note(element.textContent, element.getBoundingClientRect(), element);
        continue;
      }
      if (element.matches('path.point') && element.closest('.scatterlayer').querySelector('.textpoint'))
        note('a point', element.getBoundingClientRect(), element);
      for (const node of element.childNodes) {
        if (node.nodeType !== Node.TEXT_NODE || !node.data.trim()) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        for (const box of range.getClientRects()) note(node.data, box, element);
      }
      walk(element);
      if (element.shadowRoot) walk(element.shadowRoot);
    }
  };
  for (const part of document.querySelectorAll('[data-testid=stMain], [data-testid=stSidebar]')) walk(part);
  return boxes;
}"""
# Text that is wider than its box, and labels of charts that reach out of them. Images' buttons end in an ellipsis on
# purpose.
CLIPPED = """() => {
  const cut = [...document.querySelectorAll(
    ':is([data-testid=stMain], [data-testid=stSidebar]) :is(h1, h2, h3, h4, button, label, p, a, '
    + '[data-testid=stMetricValue], [data-testid=stMetricLabel], [data-testid=stMetricDelta])')]
    .filter(e => e.checkVisibility() && e.innerText.trim() && e.scrollWidth > e.clientWidth + 2 && e.clientWidth > 0
      && getComputedStyle(e).overflowX !== 'visible' && !e.closest('[class*=st-key-tile-]'))
    .map(e => e.innerText);
  for (const svg of document.querySelectorAll('[data-testid=stMain] svg.main-svg')) {
    const frame = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll('text')) {
      const box = text.getBoundingClientRect();
      if (!text.textContent.trim() || !box.width || !text.checkVisibility({opacityProperty: true})) continue;
      if (box.left < frame.left - 2 || box.right > frame.right + 2 || box.top < frame.top - 2
        || box.bottom > frame.bottom + 2) cut.push(`${text.textContent} (in a chart)`);
    }
  }
  return [...new Set(cut.map(words => words.trim().slice(0, 60)))];
}"""
SLACK = 2.5  # pixels by which lines of text may share their boxes
STREAMLITS_OWN = ("list", "listitem")  # what axe finds of the menu as Streamlit draws it, a div in a list


def watch_layout(context) -> None:
    """Let every page of a browser's context sum up its layout shifts."""
    context.add_init_script(SHIFT)


def overlaps(tab) -> list[str]:
    """Return the pairs of words that lie over each other."""
    boxes = sorted(tab.evaluate(BOXES), key=lambda box: box[2])
    pairs = []
    for at, (words, left, top, right, bottom, in_chart) in enumerate(boxes):
        for other, left2, top2, right2, bottom2, in_chart2 in boxes[at + 1 :]:
            if top2 > bottom - SLACK:
                break
            wide, high = min(right, right2) - max(left, left2), min(bottom, bottom2) - max(top, top2)
            slack = 1 if in_chart or in_chart2 else SLACK
            if words == other == "a point":
                continue
            if wide > slack and high > max(slack, 0.3 * min(bottom - top, bottom2 - top2)):
                pairs.append(f"{words!r} lies over {other!r}")
    return list(dict.fromkeys(pairs))


def serious(tab) -> list[str]:
    """Return what axe-core finds serious or critical, contrast of less than 4.5 among it."""
    return [
        f"{rule['id']}: {node['html'][:110]} ({(node['any'] or node['all'] or node['none'])[0]['message'][:110]})"
        for rule in Axe().run(tab).response["violations"]
        for node in rule["nodes"]
        if rule["impact"] in ("serious", "critical")
        and not (rule["id"] in STREAMLITS_OWN and _in_menu(tab, node["target"][0]))
    ]


def _in_menu(tab, selector: object) -> bool:
    closest = "selector => !!document.querySelector(selector)?.closest('[data-testid=stSidebarNav]')"
    return isinstance(selector, str) and tab.evaluate(closest, selector)


def faults(visitor, accessible: bool = True) -> list[str]:
    """Return what is wrong with the page on screen, in sentences; nothing where all is well."""
    tab = visitor.tab
    wrong = [f"console: {words}" for words in visitor.complaints]
    visitor.complaints.clear()
    wrong += [f"exception: {words[:200]}" for words in tab.get_by_test_id("stException").all_inner_texts()]
    wrong += [f"error: {words[:200]}" for words in tab.get_by_test_id("stAlertContentError").all_inner_texts()]
    wrong += [f"clipped: {words}" for words in tab.evaluate(CLIPPED)]
    wrong += [f"overlap: {words}" for words in overlaps(tab)]
    if tab.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        wrong.append("scrolls sideways")
    if accessible:
        wrong += [f"axe: {words}" for words in serious(tab)]
    shift = tab.evaluate("window.shifted ?? 0")
    if shift > MAX_SHIFT:
        wrong.append(f"layout shift of {shift:.2f}")
    return wrong
