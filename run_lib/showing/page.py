"""The page that ``--mode show`` serves: numbers to change, the picture that follows, the work directory's pictures."""

from __future__ import annotations

from run_lib.config.showing import MOST_STEPS, ShowPlan
from run_lib.pages.markup import Markup, joined, link, tag
from run_lib.pages.style import STYLE
from run_lib.run import Run

_STYLE = """
form { display: flex; flex-wrap: wrap; gap: .8rem 1.4rem; align-items: end; margin: 1.2rem 0; }
label { display: grid; gap: .2rem; font-size: .875rem; color: var(--quiet); }
label.across { display: flex; align-items: center; gap: .4rem; }
input[type=number] { width: 9rem; max-width: 100%; }
input, button { font: inherit; color: var(--ink); background: var(--raised); border: 1px solid var(--line);
  border-radius: .3rem; padding: .35rem .6rem; min-height: 2.4rem; }
button { cursor: pointer; }
input[type=checkbox] { min-height: 0; width: 1.2rem; height: 1.2rem; }
input[type=range] { padding: 0; border: 0; background: none; }
#picture { width: 32rem; image-rendering: pixelated; min-height: 8rem; }
#picture:not([src]) { visibility: hidden; }
label.across { min-height: 2.4rem; }
.control { display: flex; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: 1rem; }
.gallery figure { margin: 0; }
"""
_SCRIPT = """
const $ = name => document.getElementById(name);
const numbers = ["seed", "steps", "snr"].filter(name => $(name));
let job = 0, frames = 0, chosen = null, shown = "", pending = 0, drawn = null;
const ask = () => {
  const words = new URLSearchParams();
  for (const name of numbers) {
    if (!$(name).checkValidity()) { $(name).reportValidity(); return; }
    words.set(name, $(name).value);
  }
  chosen = null;
  fetch("draw?" + words).then(async answer => {
    const told = await answer.json();
    if (!answer.ok) { $("said").textContent = told.error; return; }
    job = told.number; look();
  });
};
const soon = () => { clearTimeout(pending); pending = setTimeout(ask, 300); };
const show = () => {
  const at = chosen === null ? frames - 1 : Math.min(chosen, frames - 1);
  if (at < 0) return;
  $("at").max = frames - 1; $("at").value = at;
  $("place").textContent = `${at + 1} of ${frames}`;
  const source = `frame/${job}/${at}.png`;
  if (source !== shown) { shown = source; $("picture").src = source; }
};
const gallery = pictures => {
  const known = $("gallery").dataset.known, now = JSON.stringify(pictures);
  if (known === now) return;
  $("gallery").dataset.known = now;
  $("gallery").replaceChildren(...pictures.map(({name, version}) => {
    const figure = document.createElement("figure"), image = document.createElement("img");
    image.src = "picture/" + name.split("/").map(encodeURIComponent).join("/") + "?version=" + version;
    image.alt = name; image.loading = "lazy";
    const caption = document.createElement("figcaption");
    caption.textContent = name;
    figure.append(image, caption);
    return figure;
  }));
};
let waiting = 0;
const look = async () => {
  clearTimeout(waiting);
  let busy = false;
  try {
    const told = await (await fetch("state")).json();
    gallery(told.pictures);
    if (told.drawing) {
      const one = told.drawing;
      if (one.number !== job) { job = one.number; shown = ""; }
      frames = one.frames; busy = !one.done;
      const weights = told.latest === null ? "" : `weights of step ${one.checkpoint}: `;
      $("said").textContent = one.error ? one.error : one.total === 0 ? "getting ready"
        : `${weights}step ${one.taken} of ${one.total}, ${one.nfe} evaluations, ${one.seconds.toFixed(1)} s`;
      show();
      document.body.dataset.frames = frames;
      document.body.dataset.done = one.done;
      drawn = one.checkpoint;
      if (one.done && $("follow").checked && told.latest !== null && drawn !== null && told.latest > drawn) ask();
    }
  } catch (error) { $("said").textContent = "the program has ended: start it again, and open its new address"; }
  waiting = setTimeout(look, busy ? 250 : 2000);
};
for (const name of numbers) $(name).addEventListener("input", soon);
$("another").addEventListener("click", () => { $("seed").value = Number($("seed").value) + 1; ask(); });
$("numbers").addEventListener("submit", event => { event.preventDefault(); ask(); });
$("at").addEventListener("input", () => { chosen = Number($("at").value); show(); });
ask(); look();
"""


def show_page(plan: ShowPlan, run: Run, nonce: str) -> str:
    """The page as text.

    Args:
        plan: what can be asked for.
        run: whose work directory it is.
        nonce: by which the browser knows the page's own script.
    """
    fields = [_number("seed", "Seed", plan.sampling.seed, 0, 2**40 - 1, 1)]
    fields += [_number("steps", "Steps", plan.steps, 1, MOST_STEPS, 1)] if plan.steps is not None else []
    fields += [_number("snr", "snr", plan.snr, 0.001, 10, "any")] if plan.snr is not None else []
    form = tag(
        "form",
        *fields,
        tag("button", "Next seed", type="button", id="another"),
        tag(
            "label",
            tag("input", type="checkbox", id="follow", checked=True),
            "follow the training",
            class_="across",
        ),
        id="numbers",
    )
    slider = tag(
        "div",
        tag("input", type="range", id="at", min=0, max=0, value=0, aria_label="place on the trajectory"),
        tag("output", "", id="place"),
        class_="control",
    )
    title = run.workdir.resolve().name
    body = joined(
        tag("header", tag("p", "Samples as they are made", class_="eyebrow"), tag("h1", title),
            tag("p", link("the page of the run", "report"), class_="quiet")),
        tag("main", form, tag("p", "", id="said", class_="quiet", role="status"),
            tag("figure", tag("img", id="picture", alt="samples at the chosen place of their trajectory"), slider),
            tag("h2", "Pictures in the work directory"), tag("div", id="gallery", class_="gallery")),
        tag("script", Markup(_SCRIPT), nonce=nonce),
    )  # fmt: skip
    head = joined(
        Markup('<meta charset="utf-8">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        Markup('<link rel="icon" href="data:,">'),
        tag("title", f"{title} \u2013 score-pc"),
        tag("style", Markup(STYLE + _STYLE)),
    )
    return f"<!DOCTYPE html>\n{tag('html', tag('head', head), tag('body', body), lang='en')}\n"


def _number(name: str, words: str, value: object, least: object, most: object, step: object) -> Markup:
    return tag(
        "label",
        words,
        tag("input", type="number", id=name, value=value, min=least, max=most, step=step, required=True),
    )
