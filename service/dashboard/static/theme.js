// Colours: as the system, light or dark, remembered. No module, so that it runs before anything is painted.
(() => {
  const root = document.documentElement;
  const order = ["system", "light", "dark"];
  const signs = { system: "◐", light: "☀", dark: "☾" };

  /** @returns {string} the remembered choice */
  const read = () => {
    try {
      return order.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "system";
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
