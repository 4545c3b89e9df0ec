// The controls beside the head, made from what the head has.
const SLIDERS = [
  ["Open the jaw", ["jawOpen"]],
  ["Smile", ["mouthSmileLeft", "mouthSmileRight"]],
  ["Frown", ["mouthFrownLeft", "mouthFrownRight"]],
  ["Pucker", ["mouthPucker"]],
  ["Left eye closed", ["eyeBlinkLeft"]],
  ["Right eye closed", ["eyeBlinkRight"]],
  ["Eyes wide", ["eyeWideLeft", "eyeWideRight"]],
  ["Brows raised", ["browInnerUp", "browOuterUpLeft", "browOuterUpRight"]],
  ["Brows lowered", ["browDownLeft", "browDownRight"]],
  ["Cheeks puffed", ["cheekPuff"]],
  ["Nose wrinkled", ["noseSneerLeft", "noseSneerRight"]],
  ["Tongue out", ["tongueOut"]],
];

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function slider(label, { min = 0, max = 1, step = 0.01, value = 0, unit = "" }, onInput) {
  const input = element("input", { type: "range", min, max, step, ariaLabel: label });
  const output = element("output");
  const show = (next) => {
    input.value = next;
    output.textContent = step < 1 ? Number(next).toFixed(2) : `${next}${unit}`;
  };
  input.addEventListener("input", () => {
    show(input.value);
    onInput(Number(input.value));
  });
  show(value);
  return { row: element("label", { className: "slider" }, element("span", { textContent: label }), input, output), show };
}

function toggle(label, checked, onChange) {
  const input = element("input", { type: "checkbox", checked });
  input.addEventListener("change", () => onChange(input.checked));
  return element("label", { className: "toggle" }, input, element("span", { textContent: label }));
}

function choice(label, options, onPick) {
  const buttons = options.map(([name, value], index) => {
    const button = element("button", { type: "button", textContent: name, ariaPressed: String(index === 0) });
    button.addEventListener("click", () => {
      for (const other of buttons) other.ariaPressed = String(other === button);
      onPick(value);
    });
    return button;
  });
  return element("div", { className: "choice", role: "group", ariaLabel: label }, ...buttons);
}

function section(title, ...children) {
  return element("section", {}, element("h2", { textContent: title }), ...children);
}

// "mouthSmileLeft" reads "mouth smile left".
const readable = (name) => name.replace(/([A-Z])/g, " $1").toLowerCase();

function expressionSection(expressions, presets) {
  const groups = SLIDERS.map(([label, names]) => [label, names.filter((name) => expressions.has(name))]);
  const all = expressions.names.map((name) => [readable(name), [name]]);
  const updates = [];
  const make = ([label, names]) => {
    const made = slider(label, {}, (value) => {
      for (const name of names) expressions.set(name, value);
      expressions.onChange();
    });
    updates.push(() => made.show(Math.max(...names.map((name) => expressions.wanted[name]))));
    return made.row;
  };
  expressions.onChange = () => updates.forEach((update) => update());
  const buttons = Object.entries(presets).map(([name, preset]) => {
    const button = element("button", { type: "button", textContent: name });
    button.addEventListener("click", () => expressions.apply(preset));
    return button;
  });
  const shown = groups.filter(([, names]) => names.length).map(make);
  const details = element("details", {}, element("summary", { textContent: `All ${all.length} expressions` }), ...all.map(make));
  expressions.onChange();
  return section("Expression", element("div", { className: "presets" }, ...buttons), ...shown, details);
}

function poseSection(pose, expressions) {
  let turn = 0;
  let nod = 0;
  const rows = [];
  if (expressions.has("eyeBlinkLeft")) {
    rows.push(toggle("Blink now and then", expressions.blinking, (on) => (expressions.blinking = on)));
  }
  if (pose.eyes.length) rows.push(toggle("Eyes follow the pointer", false, (on) => pose.setFollowing(on)));
  if (pose.neck) {
    rows.push(slider("Turn the head", { min: -45, max: 45, step: 1, unit: "\u00b0" }, (value) => pose.setNeck((turn = value), nod)).row);
    rows.push(slider("Nod", { min: -25, max: 25, step: 1, unit: "\u00b0" }, (value) => pose.setNeck(turn, (nod = value))).row);
  }
  return section("Movement", ...rows);
}

function lookSection(stage) {
  const lights = [["Soft light", "soft"], ["Studio", "studio"], ["Unlit", "unlit"]];
  return section(
    "Look",
    choice("Light", lights, (name) => stage.setLight(name)),
    toggle("Turn slowly", false, (on) => stage.setTurning(on)),
    toggle("Show the mesh", false, (on) => stage.setWireframe(on)),
  );
}

export function buildPanel(panel, { stage, expressions, pose, presets }) {
  if (expressions.names.length) panel.append(expressionSection(expressions, presets));
  panel.append(poseSection(pose, expressions), lookSection(stage));
}
