// The 3D stage: renderer, lights, camera, orbit controls. It draws only when something has changed.
import {
  AmbientLight,
  Box3,
  DirectionalLight,
  HemisphereLight,
  MeshBasicMaterial,
  PerspectiveCamera,
  Scene,
  Spherical,
  SRGBColorSpace,
  Vector3,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";

const FIELD_OF_VIEW = 24; // degrees: a portrait lens
const EASE = 9; // per second: how fast the camera glides to a view

export class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.onFrame = () => false;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
    this.renderer.outputColorSpace = SRGBColorSpace;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(FIELD_OF_VIEW, 1, 0.02, 20);
    this.lights = this.#lights();
    this.controls = this.#controls();
    this.glide = null;
    this.dirty = true;
    new ResizeObserver(() => this.#resize()).observe(canvas.parentElement);
    this.#resize();
  }

  // The light follows the camera, so that no side of the head is ever in the dark.
  #lights() {
    const key = new DirectionalLight(0xffffff, 1);
    key.position.set(-0.6, 0.8, 1);
    const rim = new DirectionalLight(0xffffff, 1);
    rim.position.set(1, 0.4, -0.8);
    const lights = { ambient: new AmbientLight(0xffffff, 1), sky: new HemisphereLight(0xffffff, 0x999999, 1), key, rim };
    this.camera.add(key, key.target, rim, rim.target);
    this.scene.add(this.camera, lights.ambient, lights.sky);
    return lights;
  }

  #controls() {
    const controls = new OrbitControls(this.camera, this.canvas);
    controls.enableDamping = true;
    controls.dampingFactor = 0.08;
    controls.zoomSpeed = 0.7;
    controls.autoRotateSpeed = 3;
    controls.addEventListener("change", () => this.requestRender());
    controls.addEventListener("start", () => (this.glide = null));
    this.canvas.addEventListener("dblclick", () => this.lookFrom(0, 0));
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    return controls;
  }

  #key(event) {
    const turn = { ArrowLeft: [-15, 0], ArrowRight: [15, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] }[event.key];
    if (!turn) return;
    event.preventDefault();
    const [azimuth, elevation] = this.direction();
    this.lookFrom(azimuth + turn[0], Math.max(-80, Math.min(80, elevation + turn[1])));
  }

  async load(glb) {
    const { scene } = await new GLTFLoader().parseAsync(glb, "");
    this.scene.add(scene);
    const meshes = [];
    const joints = {};
    scene.traverse((object) => {
      if (object.isMesh) meshes.push(object);
      if (object.isBone) joints[object.name] = object;
      object.frustumCulled = false; // morph targets and joints move the mesh out of its bounds
    });
    this.meshes = meshes;
    this.lit = meshes.map((mesh) => mesh.material);
    this.unlit = this.lit.map((material) => new MeshBasicMaterial({ map: material.map, side: material.side }));
    this.setLight("soft");
    this.#frame(new Box3().setFromObject(scene));
    this.renderer.setAnimationLoop((time) => this.#tick(time));
    return { meshes, joints };
  }

  #frame(box) {
    const size = box.getSize(new Vector3());
    this.controls.target.copy(box.getCenter(new Vector3()));
    const half = (0.5 * Math.max(size.y, size.x) * 1.12) / Math.tan((FIELD_OF_VIEW * Math.PI) / 360);
    this.home = half + size.z / 2;
    this.controls.minDistance = this.home * 0.25;
    this.controls.maxDistance = this.home * 3;
    this.lookFrom(0, 0, true);
  }

  // Degrees around the head, 0 in front and positive toward the subject's left, and above it.
  lookFrom(azimuth, elevation, atOnce = false) {
    const goal = new Spherical(this.home, (Math.PI / 180) * (90 - elevation), (Math.PI / 180) * azimuth);
    this.glide = goal;
    if (atOnce) this.#glideBy(1);
    this.requestRender();
  }

  direction() {
    const offset = new Spherical().setFromVector3(this.camera.position.clone().sub(this.controls.target));
    return [(offset.theta * 180) / Math.PI, 90 - (offset.phi * 180) / Math.PI];
  }

  #glideBy(part) {
    const offset = this.camera.position.clone().sub(this.controls.target);
    const now = offset.lengthSq() > 0 ? new Spherical().setFromVector3(offset) : this.glide.clone();
    const turn = Math.atan2(Math.sin(this.glide.theta - now.theta), Math.cos(this.glide.theta - now.theta));
    const phi = now.phi + (this.glide.phi - now.phi) * part;
    const radius = now.radius + (this.glide.radius - now.radius) * part;
    const next = new Spherical(radius, phi, now.theta + turn * part);
    this.camera.position.setFromSpherical(next).add(this.controls.target);
    this.camera.lookAt(this.controls.target);
    if (Math.abs(turn) < 1e-3 && Math.abs(this.glide.phi - phi) < 1e-3) this.glide = null;
  }

  // soft: a little shading over the photo's own; studio: more; unlit: the texture alone.
  setLight(name) {
    const unlit = name === "unlit";
    this.meshes.forEach((mesh, index) => (mesh.material = (unlit ? this.unlit : this.lit)[index]));
    const strength = { soft: [2.0, 0.5, 0.9, 0.4], studio: [0.55, 0.7, 2.6, 1.8] }[name] || [0, 0, 0, 0];
    const { ambient, sky, key, rim } = this.lights;
    [ambient, sky, key, rim].forEach((light, index) => (light.intensity = strength[index]));
    this.requestRender();
  }

  setWireframe(on) {
    for (const material of [...this.lit, ...this.unlit]) material.wireframe = on;
    this.requestRender();
  }

  setTurning(on) {
    this.controls.autoRotate = on;
    this.requestRender();
  }

  requestRender() {
    this.dirty = true;
  }

  #resize() {
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    if (!clientWidth || !clientHeight) return;
    this.renderer.setSize(clientWidth, clientHeight, false);
    this.camera.aspect = clientWidth / clientHeight;
    this.camera.zoom = Math.min(1, this.camera.aspect * 1.15); // narrow windows still show the whole head
    this.camera.updateProjectionMatrix();
    this.#render(); // at once: a new size has cleared the canvas
  }

  #tick(time) {
    const seconds = Math.min(0.1, (time - (this.last || time)) / 1000);
    this.last = time;
    if (this.glide) {
      this.#glideBy(1 - Math.exp(-EASE * seconds));
      this.requestRender();
    }
    this.controls.update(seconds);
    if (this.onFrame(seconds, time / 1000)) this.requestRender();
    if (this.dirty) this.#render();
  }

  #render() {
    this.dirty = false;
    this.renderer.render(this.scene, this.camera);
  }
}
