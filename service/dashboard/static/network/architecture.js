// The page of one network: its tree, the moments of its search, its files.

import { bindExports } from "./exports.js";
import { bindRouting } from "./routing.js";
import { bindTree } from "./tree.js";

/** @template {Element} T @param {string} selector @returns {T} */
const get = (selector) => /** @type {T} */ (document.querySelector(selector));

const walk = bindTree(get("#tree svg"), get("#station"));
get("#walk-tree").addEventListener("click", walk);
if (document.getElementById("routing")) {
  bindRouting(get("#routing"), get("#moment"), get("#moment-words"), get("#play"));
}
bindExports();
/** @type {HTMLElement} */ (get("main")).dataset.state = "ready";
