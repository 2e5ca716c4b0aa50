// A client of the document store API on axios and form-data, as programs for Kaleido's use them.
// node documents.js BASE PASSWORD COMMAND ARGUMENTS…: prints {"status", "data"} as JSON.
'use strict';

const fs = require('fs');
const { pipeline } = require('stream/promises');
const axios = require('axios');
const FormData = require('form-data');

const [base, password, command, ...rest] = process.argv.slice(2);
const options = {
  auth: { username: 'anybody', password },
  maxContentLength: Infinity,
  maxBodyLength: Infinity,
  validateStatus: () => true,
};

const call = (method, path, data, headers) => axios({ ...options, method, url: base + path, data, headers });

const commands = {
  async upload(path, file, method = 'put') {
    const form = new FormData();
    form.append('document', fs.createReadStream(file));
    return call(method, `/documents${path}`, form, form.getHeaders()); // chunked: nobody knows the length
  },
  async raw(path, file) {
    return call('put', `/documents${path}`, fs.createReadStream(file), { 'content-type': 'image/png' });
  },
  async download(path, file) {
    const answer = await axios({ ...options, url: `${base}/documents${path}`, responseType: 'stream' });
    await pipeline(answer.data, fs.createWriteStream(file));
    return { status: answer.status, data: answer.headers };
  },
  get: (path) => call('get', path),
  patch: (path) => call('patch', `/documents${path}`),
  remove: (path) => call('delete', `/documents${path}`),
  sync: () => call('post', '/sync_hashes?reset=true'),
  prefer: (key, value) => call('put', '/preferences', { key, value }),
  transfer: (from, to, document) => call('post', '/transfers', { from, to, document }),
};

commands[command](...rest).then(({ status, data }) => {
  process.stdout.write(JSON.stringify({ status, data }));
});
