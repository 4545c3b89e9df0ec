// Morph targets: what each slider asks for, eased over time, with an idle blink on top.
const EASE = 14; // per second
const BLINK_SECONDS = 0.22;

export const PRESETS = {
  Neutral: {},
  Smile: { mouthSmileLeft: 0.8, mouthSmileRight: 0.8, cheekSquintLeft: 0.5, cheekSquintRight: 0.5, eyeSquintLeft: 0.25, eyeSquintRight: 0.25 },
  Surprise: { browInnerUp: 0.8, browOuterUpLeft: 0.8, browOuterUpRight: 0.8, eyeWideLeft: 0.7, eyeWideRight: 0.7, jawOpen: 0.45 },
  Sad: { browInnerUp: 0.9, mouthFrownLeft: 0.8, mouthFrownRight: 0.8, mouthShrugLower: 0.4 },
  Angry: { browDownLeft: 0.9, browDownRight: 0.9, noseSneerLeft: 0.5, noseSneerRight: 0.5, mouthPressLeft: 0.5, mouthPressRight: 0.5, eyeSquintLeft: 0.4, eyeSquintRight: 0.4 },
  Kiss: { mouthPucker: 0.9, eyeSquintLeft: 0.2, eyeSquintRight: 0.2 },
  Wink: { eyeBlinkLeft: 1, mouthSmileLeft: 0.6, mouthSmileRight: 0.3, cheekSquintLeft: 0.6 },
};

export class Expressions {
  constructor(meshes) {
    this.meshes = meshes.filter((mesh) => mesh.morphTargetDictionary);
    this.names = this.meshes.length ? Object.keys(this.meshes[0].morphTargetDictionary) : [];
    this.asInPhoto = Object.fromEntries(this.names.map((name, index) => [name, this.meshes[0].morphTargetInfluences[index]]));
    this.wanted = { ...this.asInPhoto };
    this.shown = { ...this.asInPhoto };
    this.blinking = true;
    this.blinkStart = 2;
    this.changed = true;
    this.onChange = () => {};
  }

  has(name) {
    return name in this.wanted;
  }

  set(name, value, atOnce = false) {
    this.wanted[name] = Math.max(0, Math.min(1, value || 0));
    if (atOnce) this.shown[name] = this.wanted[name];
    this.changed = true;
  }

  apply(preset) {
    for (const name of this.names) this.set(name, preset[name] || 0);
    this.onChange();
  }

  // 0 open, 1 closed; quick down, slower up. Intervals come from a fixed sequence, so a page always looks the same.
  #blink(elapsed) {
    if (!this.blinking) return 0;
    const phase = (elapsed - this.blinkStart) / BLINK_SECONDS;
    if (phase > 1) this.blinkStart = elapsed + 2.4 + 2.2 * Math.abs(Math.sin(elapsed * 12.9898));
    if (phase < 0 || phase > 1) return 0;
    return phase < 0.35 ? phase / 0.35 : (1 - phase) / 0.65;
  }

  // Returns whether the picture has changed.
  step(seconds, elapsed) {
    const blink = this.#blink(elapsed);
    let moving = this.changed || blink > 0 || this.lastBlink > 0;
    this.changed = false;
    this.lastBlink = blink;
    for (const name of this.names) {
      const gap = this.wanted[name] - this.shown[name];
      if (gap === 0) continue;
      this.shown[name] = Math.abs(gap) < 0.002 ? this.wanted[name] : this.shown[name] + gap * (1 - Math.exp(-EASE * seconds));
      moving = true;
    }
    if (moving) this.#write(blink);
    return moving;
  }

  #write(blink) {
    for (const mesh of this.meshes) {
      for (const [name, index] of Object.entries(mesh.morphTargetDictionary)) {
        const closes = name === "eyeBlinkLeft" || name === "eyeBlinkRight";
        mesh.morphTargetInfluences[index] = closes ? Math.max(this.shown[name], blink) : this.shown[name];
      }
    }
  }
}
