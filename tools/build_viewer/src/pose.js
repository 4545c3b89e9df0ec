// Joints: the head turns on the neck, the eyes follow the pointer.
import { Raycaster, Vector2, Vector3 } from "three";

const GAZE_LIMIT = [0.5, 0.3]; // radians to the side, up and down

export class Pose {
  constructor(joints, stage) {
    this.neck = joints.neck;
    this.eyes = [joints.left_eye, joints.right_eye].filter(Boolean);
    this.stage = stage;
    this.following = false;
    this.changed = false;
    this.pointer = new Vector2();
    this.ray = new Raycaster();
    stage.canvas.addEventListener("pointermove", (event) => this.#point(event));
  }

  // Degrees: positive turns toward the subject's left, positive nods down.
  setNeck(turn, nod) {
    if (!this.neck) return;
    this.neck.rotation.set((nod * Math.PI) / 180, (turn * Math.PI) / 180, 0, "YXZ");
    this.changed = true;
  }

  setFollowing(on) {
    this.following = on;
    if (!on) for (const eye of this.eyes) eye.rotation.set(0, 0, 0);
    this.changed = true;
  }

  #point(event) {
    const box = this.stage.canvas.getBoundingClientRect();
    this.pointer.set(((event.clientX - box.left) / box.width) * 2 - 1, 1 - ((event.clientY - box.top) / box.height) * 2);
    this.changed ||= this.following;
  }

  step() {
    if (this.following) this.#gaze();
    const changed = this.changed;
    this.changed = this.following && this.stage.dirty; // the camera moves: look again in the next frame
    return changed;
  }

  #gaze() {
    this.ray.setFromCamera(this.pointer, this.stage.camera);
    const target = this.ray.ray.at(this.stage.camera.position.distanceTo(this.stage.controls.target) * 0.5, new Vector3());
    for (const eye of this.eyes) {
      const to = eye.parent.worldToLocal(target.clone()).sub(eye.position);
      const behind = to.z <= 0;
      const yaw = behind ? 0 : Math.atan2(to.x, to.z);
      const pitch = behind ? 0 : Math.atan2(to.y, Math.hypot(to.x, to.z));
      const clamp = (value, limit) => Math.max(-limit, Math.min(limit, value));
      eye.rotation.set(-clamp(pitch, GAZE_LIMIT[1]), clamp(yaw, GAZE_LIMIT[0]), 0, "YXZ");
    }
  }
}
