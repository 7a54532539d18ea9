// What a page does in the browser beside what Streamlit draws; started once a tab.
(() => {
  if (window.selviz) return;
  window.selviz = true;

  // One entry of the history a view. Streamlit makes one for each address that the server sends; those that nobody
  // asked for, such as a default that completes the address, take the place of the entry that is there.
  let acted = false;
  const act = ({target}) => { acted ||= !target.closest?.("[data-testid=stSidebarNavLink], [data-testid=stPageLink]"); };
  for (const kind of ["pointerdown", "keydown", "change"])
    addEventListener(kind, act, {capture: true, passive: true});
  const push = history.pushState.bind(history);
  history.pushState = (state, unused, url) => {
    const stays = new URL(url ?? "", location.href).pathname === location.pathname;
    if (!stays && stepped) return;
    if (stays && !acted) return history.replaceState(state, unused, url);
    acted = false;
    push(state, unused, url);
    present();
  };
  const replace = history.replaceState.bind(history);
  history.replaceState = (...entry) => { replace(...entry); present(); };

  // After two quick steps back, Streamlit takes the answer to the first for a way to another page.
  let stepped = false;
  addEventListener("popstate", () => { stepped = true; present(); });
  for (const kind of ["pointerdown", "keydown"])
    addEventListener(kind, () => { stepped = false; }, {capture: true, passive: true});

  // The lesson for a projector: larger, and without the menu.
  function present() {
    const presenting = /\/lesson$/.test(location.pathname) && new URLSearchParams(location.search).get("present") === "1";
    document.documentElement.classList.toggle("selviz-presenting", presenting);
  }
  present();

  // On a phone the menu lies over the page: choosing a page closes it.
  addEventListener("click", ({target}) => {
    if (innerWidth >= 768 || !target.closest?.("[data-testid=stSidebarNavLink]")) return;
    setTimeout(() => document.querySelector("[data-testid=stSidebarCollapseButton] button")?.click(), 50);
  });
})();
