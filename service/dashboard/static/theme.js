// Colours: as the system, light or dark, remembered. No module, so that it runs before anything is painted.
(() => {
  const root = document.documentElement;
  /** @type {Record<string, string>} */
  const signs = { system: "◐", light: "☀", dark: "☾" };
  const order = Object.keys(signs);

  /** @returns {string} the remembered choice */
  const read = () => {
    try {
      const kept = localStorage.getItem("theme") ?? "";
      return order.includes(kept) ? kept : "system";
    } catch {
      return "system"; // storage may be forbidden
    }
  };

  /** @param {string} choice */
  const apply = (choice) => {
    if (choice === "system") delete root.dataset.theme;
    else root.dataset.theme = choice;
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = signs[choice];
      button.setAttribute("aria-label", `Colours: ${choice === "system" ? "as the system" : choice}`);
    }
  };

  root.classList.add("js");
  apply(read());
  document.addEventListener("DOMContentLoaded", () => {
    apply(read());
    document.getElementById("theme")?.addEventListener("click", () => {
      const next = order[(order.indexOf(read()) + 1) % order.length];
      try {
        localStorage.setItem("theme", next);
      } catch {
        // it holds for this page, then
      }
      apply(next);
      document.dispatchEvent(new CustomEvent("themechange", { detail: next }));
    });
  });
})();
