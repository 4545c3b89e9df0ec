// The page's script: reads the embedded head, then joins the stage with the controls.
import { Expressions, PRESETS } from "./expressions.js";
import { buildPanel } from "./panel.js";
import { Pose } from "./pose.js";
import { Stage } from "./stage.js";

function embeddedHead() {
  const text = document.getElementById("head-glb").textContent;
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
}

// The part of the address after '#' sets a state: #jawOpen=0.8&azimuth=30&blink=0
function stateFromAddress() {
  return Object.fromEntries([...new URLSearchParams(location.hash.slice(1))].map(([key, value]) => [key, Number(value)]));
}

function wireViews(stage) {
  for (const button of document.querySelectorAll("[data-azimuth]")) {
    button.addEventListener("click", () => {
      stage.lookFrom(Number(button.dataset.azimuth), Number(button.dataset.elevation));
      stage.canvas.scrollIntoView({ behavior: "smooth", block: "nearest" });
    });
  }
}

function wireDownload(glb) {
  const link = document.getElementById("download");
  link.href = URL.createObjectURL(new Blob([glb], { type: "model/gltf-binary" }));
}

function wireTheme(stage) {
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = getComputedStyle(root).colorScheme === "dark";
    root.dataset.theme = dark ? "light" : "dark";
    stage.requestRender();
  });
}

function applyState(state, stage, expressions) {
  expressions.blinking = state.blink !== 0;
  for (const [name, value] of Object.entries(state)) {
    if (expressions.has(name)) expressions.set(name, value, true);
  }
  if ("azimuth" in state || "elevation" in state) stage.lookFrom(state.azimuth || 0, state.elevation || 0, true);
}

async function start() {
  const status = document.getElementById("status");
  try {
    const glb = embeddedHead();
    wireDownload(glb);
    const stage = new Stage(document.getElementById("canvas"));
    const head = await stage.load(glb);
    const expressions = new Expressions(head.meshes);
    const pose = new Pose(head.joints, stage);
    applyState(stateFromAddress(), stage, expressions);
    buildPanel(document.getElementById("panel"), { stage, expressions, pose, presets: { "As in the photo": expressions.asInPhoto, ...PRESETS } });
    stage.onFrame = (seconds, elapsed) => [expressions.step(seconds, elapsed), pose.step()].some(Boolean);
    wireViews(stage);
    wireTheme(stage);
    status.remove();
    document.documentElement.dataset.ready = "true";
  } catch (error) {
    status.textContent = `The 3D view cannot be shown here: ${error.message}`;
    throw error;
  }
}

start();
