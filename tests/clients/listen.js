// Listens for the events of a document store. node listen.js PACKAGE URL PASSWORD [TRANSPORT…]: a JSON line for each.
'use strict';

const [name, url, password, ...transports] = process.argv.slice(2);
const client = require(name);
const connect = client.connect || client;
const authorization = `Basic ${Buffer.from(`anybody:${password}`).toString('base64')}`;
const print = (...values) => process.stdout.write(`${JSON.stringify(values)}\n`);

const socket = connect(url, {
  extraHeaders: { Authorization: authorization },
  reconnection: false,
  ...(transports.length ? { transports } : {}),
});
for (const event of ['connect', 'disconnect', 'document_sent', 'document_received', 'transfer_acknowledgement']) {
  socket.on(event, (data) => print(event, data));
}
socket.on('connect_error', (error) => print('connect_error', String(error)));
