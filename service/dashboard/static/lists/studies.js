// The list of studies says when it is done; it has nothing else to do.
import "../times.js";

const main = document.querySelector("main");
if (main) main.dataset.state = "ready";
