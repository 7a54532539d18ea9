"""One tab of a real browser: `Visitor(browser).open(url).sees("words").is_well()`, and the titles of all pages."""

TITLES = {
    "lesson": "Do networks need selective units?",
    "": "What is in here, and does it matter?",
    "alpha": "What does turning selectivity up or down do?",
    "network": "Which units are there, and what are they like?",
    "unit": "What does this unit respond to, and does it matter?",
    "silence": "What breaks when these units are silent?",
    "compare": "How do these networks differ?",
    "hidden": "Is the selectivity gone, or hidden?",
    "early": "When do selective units appear?",
    "train": "Start a network of your own",
    "robustness": "Who survives bad images, and who survives an attacker?",
    "claims": "Is my claim true?",
    "data": "What is in the tables?",
}
PATIENCE = 150_000  # milliseconds; the first page imports torch, and others may be at work on the machine


class Visitor:
    """One tab, and all that its console complained about; `forgiving` of what plain `streamlit run` asks in vain."""

    def __init__(self, browser, scheme="light", width=1280, forgiving=True):
        self.forgiving = forgiving
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(PATIENCE)
        self.complaints = []
        self.tab.on("console", self._listen)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _listen(self, message):
        # On a page's own address Streamlit first asks that page for its health, and then the server itself.
        streamlits_own = "/_stcore/" in message.location.get("url", "")
        if message.type == "error" and not (streamlits_own and self.forgiving):
            self.complaints.append(message.text)

    def open(self, url):
        self.tab.goto(url)
        return self.settle()

    def settle(self):
        """Waits until the page has been drawn, each part of it is there, and the browser is idle.

        Streamlit loads the code of buttons and charts when a page first has one; until then there is a skeleton, and no
        key or click arrives. It listens for keys in an effect after the drawing, which is over when the browser idles.
        """
        self.tab.locator("[data-testid=stMain] :is(h1, h3, [data-testid=stAlert])").first.wait_for()
        self.tab.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        unready = "[data-stale=true], [data-testid=stSpinner], [data-testid=stSkeleton]"
        self.tab.wait_for_function(f"!document.querySelector('{unready}')")
        self.tab.evaluate("new Promise(done => requestIdleCallback(done, {timeout: 10000}))")
        return self

    def text(self):
        return self.tab.get_by_test_id("stMain").inner_text()

    def sees(self, text):
        """Waits until the text is on the page; code blocks are drawn late."""
        self.tab.get_by_test_id("stMain").get_by_text(text).first.wait_for()
        return self

    def is_well(self):
        assert self.complaints == []
        assert self.tab.get_by_test_id("stException").all_inner_texts() == []
        return self

    def close(self):
        self.context.close()


def address_holds(visitor, *parts):
    visitor.tab.wait_for_function(f"{list(parts)!r}.every(part => location.href.includes(part))")
