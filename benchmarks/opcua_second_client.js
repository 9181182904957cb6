// A PLC's part, played by node-opcua: subscribes to the results, and asks for those that it missed while it was away.
//
//     NODE_PATH=FOLDER/node_modules node opcua_second_client.js '{"url": ..., "folder": ..., "log": ..., "last": N}'
//
// Writes a line for each new result into the log: number, verdict, id of the part.

"use strict";
const fs = require("fs");
const path = require("path");
const opcua = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");

const { url, folder, log, last: before } = JSON.parse(process.argv[2]);
const out = fs.openSync(log, "a");
let last = before;
let waiting = []; // events that come while older results are asked for

function take(number, verdict, part) {
  if (number <= last) return;
  if (number !== last + 1) fs.writeSync(out, `gap ${last} ${number}\n`);
  last = number;
  fs.writeSync(out, `${number} ${verdict} ${part}\n`);
}

async function catchUp(session, space) {
  const held = waiting;
  const answer = await session.call({
    objectId: `ns=${space};s=VisionSystem`,
    methodId: `ns=${space};s=VisionSystem.GetResultsSince`,
    inputArguments: [new opcua.Variant({ dataType: opcua.DataType.UInt32, value: last })],
  });
  if (!answer.statusCode.isGood()) throw new Error(`GetResultsSince: ${answer.statusCode}`);
  for (const result of answer.outputArguments[0].value || []) take(result.sequenceNumber, result.verdict, result.partId);
  waiting = null;
  for (const event of held) take(...event);
}

async function main() {
  const certificates = new OPCUACertificateManager({
    rootFolder: path.join(folder, "pki"), automaticallyAcceptUnknownCertificate: true,
  });
  await certificates.initialize();
  const client = opcua.OPCUAClient.create({
    applicationName: "second-client",
    applicationUri: "urn:edge-ad:second-client",
    certificateFile: path.join(folder, "client.pem"),
    privateKeyFile: path.join(folder, "client.key"),
    clientCertificateManager: certificates,
    securityMode: opcua.MessageSecurityMode.SignAndEncrypt,
    securityPolicy: opcua.SecurityPolicy.Basic256Sha256,
    endpointMustExist: false,
    connectionStrategy: { maxRetry: 20, initialDelay: 200, maxDelay: 500 },
  });
  await client.connect(url);
  const session = await client.createSession();
  const spaces = await session.readNamespaceArray();
  const space = spaces.indexOf("urn:edge-ad:inspection");
  const subscription = await session.createSubscription2({
    requestedPublishingInterval: 20, requestedLifetimeCount: 6000, requestedMaxKeepAliveCount: 50,
    maxNotificationsPerPublish: 1000, publishingEnabled: true, priority: 1,
  });
  const fields = [`${space}:SequenceNumber`, `${space}:Inspection`];
  const item = await subscription.monitor(
    { nodeId: `ns=${space};s=VisionSystem`, attributeId: opcua.AttributeIds.EventNotifier },
    {
      samplingInterval: 0, queueSize: 10000, discardOldest: true,
      filter: opcua.constructEventFilter(fields, opcua.ofType(`ns=${space};s=InspectionReadyEventType`)),
    },
    opcua.TimestampsToReturn.Both,
  );
  item.on("changed", ([number, inspection]) => {
    const event = [number.value, inspection.value?.verdict, inspection.value?.partId];
    if (waiting) waiting.push(event);
    else take(...event);
  });
  await catchUp(session, space);
  process.stdout.write("ready\n");
}

main().catch((error) => {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
});
