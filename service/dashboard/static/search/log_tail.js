// The end of a log that follows what is written, and stands still while somebody reads further up.

const KEPT_LINES = 1000;
const NEAR_PX = 24;

export class LogTail {
  /**
   * @param {HTMLElement} box scrolls; holds a <p> per line
   * @param {HTMLButtonElement} button follows or pauses
   * @param {Record<string, string>} names of the trials by id
   */
  constructor(box, button, names) {
    this.box = box;
    this.button = button;
    this.names = names;
    this.last = Number(box.dataset.last ?? 0);
    this.following = true;
    this.unseen = 0;
    this.toEnd();
    box.addEventListener("scroll", () => this.onScroll());
    button.addEventListener("click", () => this.follow(!this.following));
    box.addEventListener("click", (event) => {
      if (event.detail === 0) box.focus(); // the shortcut, which clicks
    });
  }

  /** @param {{trial_id: string, lines: {seq: number, text: string}[]}} written */
  add(written) {
    const fresh = written.lines.filter((line) => line.seq > this.last);
    if (!fresh.length) return;
    this.last = fresh[fresh.length - 1].seq;
    this.box.querySelector(".none")?.remove();
    this.box.append(...fresh.map((line) => this.draw(this.names[written.trial_id] ?? "–", line.text)));
    while (this.following && this.box.childElementCount > KEPT_LINES) this.box.firstElementChild?.remove();
    if (this.following) {
      this.toEnd();
    } else {
      this.unseen += fresh.length;
      this.show();
    }
  }

  /** @param {string} state of the job; one that has ended writes no more, so there is nothing to follow */
  showState(state) {
    const ended = ["SUCCEEDED", "FAILED", "CANCELLED"].includes(state);
    if (document.activeElement === this.button && ended) this.box.focus();
    this.button.hidden = ended && this.following;
  }

  /** @param {string} name @param {string} text @returns {HTMLElement} */
  draw(name, text) {
    const line = document.createElement("p");
    const who = document.createElement("b");
    who.textContent = name;
    line.append(who, ` ${text}`);
    return line;
  }

  /** @param {boolean} following */
  follow(following) {
    this.following = following;
    if (following) {
      this.unseen = 0;
      this.toEnd();
    }
    this.show();
  }

  /** Pauses when somebody scrolls up, and follows again at the end. */
  onScroll() {
    const atEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < NEAR_PX;
    if (atEnd !== this.following) this.follow(atEnd);
  }

  toEnd() {
    this.box.scrollTop = this.box.scrollHeight;
  }

  show() {
    this.button.setAttribute("aria-pressed", String(this.following));
    this.button.textContent = this.following ? "Following" : `Paused${this.unseen ? `, ${this.unseen} new` : ""}`;
  }
}
