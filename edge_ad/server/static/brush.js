// A brush over a picture: where the defect is. Strokes are in thousandths of the picture's width and height.

const RADIUS = 12; // thousandths of the longer side
const LEAST_STEP = 8; // thousandths: closer points say nothing more
const MOST_POINTS = 300; // a request has 4 KiB

export class Brush {
  constructor(image, canvas) {
    this.image = image;
    this.canvas = canvas;
    this.strokes = [];
    this.isOn = false;
    this.current = null;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.current && this.add(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (this.current = null));
    new ResizeObserver(() => this.draw()).observe(image);
    image.addEventListener("load", () => this.draw());
  }

  turn(isOn) {
    this.isOn = isOn;
    this.canvas.hidden = !isOn && !this.strokes.length;
    this.canvas.style.pointerEvents = isOn ? "auto" : "none";
    this.draw();
  }

  clear() {
    this.strokes = [];
    this.draw();
  }

  // What the picture covers of its element, which keeps the picture's shape.
  box() {
    const { clientWidth: width, clientHeight: height, naturalWidth, naturalHeight } = this.image;
    const scale = Math.min(width / naturalWidth, height / naturalHeight) || 0;
    const [w, h] = [naturalWidth * scale, naturalHeight * scale];
    return { left: (width - w) / 2, top: (height - h) / 2, width: w, height: h };
  }

  begin(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.current = { radius: RADIUS, points: [] };
    this.strokes.push(this.current);
    this.add(event);
  }

  add(event) {
    const box = this.box();
    const edge = this.canvas.getBoundingClientRect();
    const share = (value, length) => Math.max(0, Math.min(1000, Math.round((1000 * value) / length)));
    const x = share(event.clientX - edge.left - box.left, box.width);
    const y = share(event.clientY - edge.top - box.top, box.height);
    const points = this.current.points;
    const isNear = points.length && Math.hypot(x - points.at(-2), y - points.at(-1)) < LEAST_STEP;
    if (isNear || this.count() >= MOST_POINTS) return;
    points.push(x, y);
    this.draw();
  }

  count() {
    return this.strokes.reduce((sum, stroke) => sum + stroke.points.length / 2, 0);
  }

  place() {
    return this.strokes.filter((stroke) => stroke.points.length);
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.image;
    Object.assign(this.canvas, { width, height });
    const box = this.box();
    const pen = this.canvas.getContext("2d");
    pen.strokeStyle = "rgba(255, 214, 10, 0.7)";
    pen.lineCap = pen.lineJoin = "round";
    for (const { radius, points } of this.strokes) {
      pen.lineWidth = (2 * radius * Math.max(box.width, box.height)) / 1000;
      pen.beginPath();
      for (let index = 0; index < points.length; index += 2) {
        const [x, y] = [box.left + (points[index] * box.width) / 1000, box.top + (points[index + 1] * box.height) / 1000];
        if (index === 0) pen.moveTo(x, y);
        pen.lineTo(x, y);
      }
      pen.stroke();
    }
  }
}
