// Decodes payloads of Sparkplug B, one in base64 on each line of stdin, with Eclipse Tahu's own decoder; JSON on stdout.
//
//     NODE_PATH=FOLDER/node_modules node sparkplug_decoder.js < payloads

"use strict";
const { decodePayload } = require("sparkplug-payload").get("spBv1.0");
const whole = (value) => (value && typeof value === "object" && "low" in value ? value.low + value.high * 2 ** 32 : value);

for (const line of require("fs").readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const { seq, metrics } = decodePayload(Buffer.from(line, "base64"));
  const values = Object.fromEntries(metrics.map((metric) => [metric.name, [metric.type, whole(metric.value)]]));
  console.log(JSON.stringify({ seq: seq === undefined ? null : whole(seq), values }));
}
