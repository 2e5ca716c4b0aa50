// Checks the signatures of a line of the transfer log with Node's crypto, from public data alone.
// node check.js: on standard input {"line", "keys"}: the line, and the signing keys (JWK by RFC 7638 thumbprint) that
// the Directory has for sender and recipient. Prints what each signature says, or throws.
'use strict';

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');

const { line, keys } = JSON.parse(fs.readFileSync(0, 'utf8'));
const member = (uri) => /^docex:\/\/documentstore\/m\/([^/]+)\/d\/default$/.exec(uri)[1];

function check(statement, signature, account) {
  const [header, payload, last] = statement.split('.');
  const said = JSON.parse(Buffer.from(payload, 'base64url'));
  const { kid } = JSON.parse(Buffer.from(header, 'base64url'));
  assert.strictEqual(Buffer.from(signature, 'base64').toString('base64url'), last);
  assert.strictEqual(said.iss, account);
  const key = crypto.createPublicKey({ key: keys[account][kid], format: 'jwk' });
  const signed = Buffer.from(`${header}.${payload}`, 'ascii');
  assert(crypto.verify(null, signed, key, Buffer.from(signature, 'base64')), 'the signature does not hold');
  return said;
}

const sha256 = (text) => crypto.createHash('sha256').update(text).digest('hex');
const sent = check(line.senderStatement, line.senderSignature, member(line.from));
const received = check(line.recipientStatement, line.recipientSignature, member(line.to));
assert.strictEqual(line.transferHash, sha256(line.from + line.to + line.hash + line.timestamp));
assert.strictEqual(line.id, `sha256:${sha256(line.senderStatement)}`);
assert.strictEqual(new Date(line.timestamp).getTime(), sent.iat * 1000);
assert(sent.transfer.to.some((each) => each.account === member(line.to)));
assert.strictEqual(received.receipt.transfer, line.id);
assert.strictEqual(received.receipt.outcome, 'accepted');
assert(received.receipt.opened.includes(`sha256:${line.hash}`));
process.stdout.write('both signatures hold');
